"""The commented YAML that `bertbench init` writes for a model, a task, a claim or a suite of one's own.

Each is right as it stands; what can be left out is a comment. `tests/specs/test_starters.py` holds them against the specs.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

# As `bertbench.specs.base.Name` has it, which loads pydantic.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


class StarterKind(StrEnum):
    """What a YAML can be written for."""

    MODEL = "model"
    TASK = "task"
    CLAIM = "claim"
    SUITE = "suite"


class Starter(NamedTuple):
    """A folder of configs, the text of a file in it and the command that uses it; `{name}` stands for the file's name."""

    folder: str
    text: str
    command: str


_MODEL = """\
# A model of your own. `bertbench validate` checks this file; its name, {name}, is what you type after --models.
title: "{name}"

# An architecture that transformers knows: bert, distilbert, albert, roberta, electra, mpnet, …
architecture: bert

# A folder with config.json, weights and tokenizer, or a model on the hub (owner/name).
checkpoint: ./checkpoints/{name}
# revision: main                # a commit or tag, so that the figures stay those of one version
# tokenizer: ./checkpoints/other  # if it is not in the checkpoint's folder

# How the model was made smaller, in a few words; shown in the row "Method".
compression: none

# Checkpoints that are already fine-tuned, by task: these are evaluated instead of being trained here.
# finetuned:
#   sst2:
#     checkpoint: ./checkpoints/{name}-sst2
#     labels: [negative, positive]    # what output 0, 1, … stands for, if config.json says only LABEL_0, LABEL_1

# What differs from the task's recipe for this model.
# training:
#   learning_rate: 5.0e-5
#   epochs: 3

# What was published about the model, shown beside what is measured.
# published:
#   - row: size                 # method, size, speed, accuracy or use
#     statement: "66M parameters"
#     source: "the paper, and the table in it"
#     quantity: parameters
#     value: 66000000
"""

_TASK = """\
# A task of your own. `bertbench validate` checks this file; its name, {name}, is what you type after --task.
title: "{name}"

# sequence-classification (texts or pairs of texts), token-classification (words with tags) or question-answering.
kind: sequence-classification

# A folder with train.csv and validation.csv (also .tsv, .jsonl, .json, .parquet).
# A data set on the hub is {{path: owner/name, subset: default}} instead.
dataset: {{folder: data/{name}}}
# train_split: train
# evaluation_splits: [validation]

# The columns of your files: one or two of text, and the one that holds the label.
inputs: [text]
label: label

# The names of the classes, in the order of their ids. Leave `labels` out if the label is a number to be predicted.
# Quote words that YAML reads as something else: ['no', 'yes'].
labels: [negative, positive]

# `bertbench list metrics` shows all. The score is the mean of the primary metrics.
metrics: [accuracy]
primary_metrics: [accuracy]

# How models are fine-tuned on the task; these are the defaults.
training:
  epochs: 3
  batch_size: 32
  learning_rate: 2.0e-5
  max_length: 128               # tokens; longer texts are cut

# Within --max-minutes, train on at least so many examples or not at all.
# useful_samples: 1000
"""

_CLAIM = """\
# A claim to be tested. `bertbench validate` checks this file; its name, {name}, is what you type after --claims.
wording: "DistilBERT answers within 50 ms"
source: "our service agreement"
definition: "median latency of one input of 128 tokens on this machine"

# A name, a model on the hub or a folder.
model: distilbert
# reference: bert               # needed for a ratio, speedup or difference

# What is measured: latency, throughput, parameters, parameter_bytes, peak_memory, flops, energy, score, retention, …
quantity: latency
statistic: value                # or, against the reference: ratio, speedup, difference
batch_size: 1
sequence_length: 128
# task: sst2                    # for a score: the task it is of

# The claim is supported if the whole interval is at most (or at_least, or equal to) this, in base units: seconds, bytes,
# shares of 1. `margin` is how far off still counts.
relation: at_most
expected: 0.05
margin: 0.0

# The evidence it takes.
# needs:
#   rounds: 10
#   seeds: 3

# The verdict you expect (supported, refuted or inconclusive): with it, any other verdict makes `verify` fail.
# expect: supported
"""

_SUITE = """\
# A suite: models, tasks and timing that are compared together. Its name, {name}, is what you type after --suite.
title: "{name}"

# `bertbench list models` shows the names; folders and models on the hub (owner/name) will do, too.
models: [bert, distilbert]
# The model that all ratios refer to.
reference: bert

# `bertbench list tasks` shows the names. Without tasks only size, speed and memory are measured.
tasks: [sst2]

# With 3 or more seeds the intervals of scores cover the training as well, not just this one checkpoint.
seeds: 1

timing:
  rounds: 10                    # fresh processes per model; more rounds give narrower intervals
  # The inputs of a pass. The first shape is the one that speed-ups are quoted for.
  shapes:
    - {{batch_size: 1, sequence_length: 128}}
    - {{batch_size: 8, sequence_length: 128}}
    # - {{batch_size: 1, sequence_length: null}}   # the lengths of the task's own texts
"""

STARTERS = {
    StarterKind.MODEL: Starter("models", _MODEL, "bertbench compare --models {name},bert --reference bert"),
    StarterKind.TASK: Starter("tasks", _TASK, "bertbench run --task {name} --models distilbert"),
    StarterKind.CLAIM: Starter("claims", _CLAIM, "bertbench verify --claims {name} --measure"),
    StarterKind.SUITE: Starter("suites", _SUITE, "bertbench compare --suite {name}"),
}


def is_name(text: str) -> bool:
    """Tell whether a file of configs may be called so."""
    return _NAME.fullmatch(text) is not None
