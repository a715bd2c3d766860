"""Predictions in the formats that leaderboards and official scripts take, to the letter."""

import json

import pytest

from bertbench.quality.prediction_files import files_of
from bertbench.specs.catalog import Catalog
from bertbench.tasks.examples import HIDDEN, Examples
from bertbench.tasks.kind import Decoded

CATALOG = Catalog()
GLUE = {
    "cola": ("CoLA.tsv",),
    "mnli": ("MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"),
    "mrpc": ("MRPC.tsv",),
    "qnli": ("QNLI.tsv",),
    "qqp": ("QQP.tsv",),
    "rte": ("RTE.tsv",),
    "sst2": ("SST-2.tsv",),
    "stsb": ("STS-B.tsv",),
    "wnli": ("WNLI.tsv",),
}


def hidden(*inputs, labels=None):
    """Examples whose labels are hidden, unless they are given."""
    ids = tuple(str(number) for number in range(len(inputs)))
    return Examples("test", ids, inputs, labels or (HIDDEN,) * len(inputs), len(inputs))


def written(name, decoded, examples=None, place=0):
    """Files of a packaged task's test set."""
    task = CATALOG.task(name)
    return files_of(task, task.test_sets[place], examples or hidden(*[("a",)] * len(decoded.predictions)), decoded)


@pytest.mark.parametrize("name", GLUE)
def test_glue_files_are_called_as_the_leaderboard_wants(name):
    """Every task of GLUE has the files of the sample submission; only MNLI has several."""
    assert tuple(wanted.file for wanted in CATALOG.task(name).test_sets) == GLUE[name]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cola", ["0", "1"]),
        ("mrpc", ["0", "1"]),
        ("qqp", ["0", "1"]),
        ("sst2", ["0", "1"]),
        ("wnli", ["0", "1"]),
        ("qnli", ["entailment", "not_entailment"]),
        ("rte", ["entailment", "not_entailment"]),
        ("mnli", ["entailment", "neutral", "contradiction"]),
    ],
)
def test_classes_are_ids_or_names(name, shown):
    """A header, then index and class by tab; names only where the leaderboard has them, on all sets of MNLI."""
    decoded = Decoded([float(number) for number in range(len(shown))], [])
    lines = "".join(f"{index}\t{value}\n" for index, value in enumerate(shown))
    for place, file in enumerate(GLUE[name]):
        assert written(name, decoded, place=place) == {file: "index\tprediction\n" + lines}


def test_similarities_are_clipped():
    """STS-B's numbers lie from 0 to 5 and have three decimals."""
    text = written("stsb", Decoded([-0.2, 2.34567, 5.5], []))["STS-B.tsv"]
    assert text == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_answers_are_json():
    """SQuAD's files give the answer by question; 2.0 has beside it how much likelier no answer is."""
    decoded = Decoded(["Zürich", ""], [[3.0, 1.0, 0.9], [1.0, 1.5, 0.2]])
    examples = hidden(("where?", "in Zürich"), ("who?", "nobody"))
    (text,) = written("squad", decoded, examples).values()
    assert json.loads(text) == {"0": "Zürich", "1": ""}
    both = written("squad_v2", decoded, examples)
    assert json.loads(both["squad_v2_predictions.json"]) == {"0": "Zürich", "1": ""}
    assert json.loads(both["squad_v2_null_odds.json"]) == {"0": -2.0, "1": 0.5}


def test_tags_are_columns():
    """A line a word with the known tag, if there is one, before the predicted; an empty line ends a sentence."""
    decoded = Decoded([["B-PER", "O"], ["O"]], [])
    words = ((("Ada", "ran fast"),), (("Yes",),))
    assert written("conll2003", decoded, hidden(*words)) == {"conll2003.txt": "Ada B-PER\nran_fast O\n\nYes O\n\n"}
    known = hidden(*words, labels=((1, 0), (0,)))
    assert written("conll2003", decoded, known) == {"conll2003.txt": "Ada B-PER B-PER\nran_fast O O\n\nYes O O\n\n"}
