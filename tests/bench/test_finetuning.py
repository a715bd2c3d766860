"""Fine-tuning and evaluation against the usual recipes on transformers' Trainer, side by side in one process.

Real sentences and a real pretrained encoder come from the stand-in hub beside the checkout; without it these bars are skipped.
"""

import time
from dataclasses import dataclass

import pytest

from bertbench.records import environment

pytestmark = [pytest.mark.bench_full, pytest.mark.shared]

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PEER_STEPS = 30
PEER_BATCH = 32
MAX_LENGTH = 128
TRAIN_ROWS = {"sst2": 9600, "mrpc": 3668}
BARS = {"sst2": (12.0, 10.0), "mrpc": (3.0, 3.0)}  # times the padded recipe's training and evaluation samples a second
DYNAMIC_BAR = 1.5


@dataclass(frozen=True)
class Rates:
    """Samples a second."""

    training: float
    evaluation: float


@pytest.fixture(scope="module")
def world(hub_in_process, tmp_path_factory):
    """Loads a task: `world("sst2")` gives the work on a task."""
    import huggingface_hub

    from bertbench.models.sources import Source
    from bertbench.quality.trainer import decide_training_format
    from bertbench.quality.work import Work
    from bertbench.specs.catalog import Catalog
    from bertbench.tasks import data

    folder = huggingface_hub.snapshot_download(MODEL, endpoint=hub_in_process)
    threads = environment.default_threads()
    results, machine = tmp_path_factory.mktemp("machine"), environment.capture("cpu").environment_class
    faster = decide_training_format(results, machine, "cpu", threads, print) == "bf16"

    def load(name):
        from pathlib import Path

        task = Catalog().task(name)
        spec = Catalog().model("all-minilm-l6")
        source = Source(spec, Path(folder), Path(folder), "pretrained", "d")
        recipe = task.training.updated({"epochs": 1, "batch_size": 32})
        train, validation = (data.load(task, split) for split in ("train", "validation"))
        return Work(
            source, task, "fine-tune", recipe, 0, "cpu", "fp32", bf16_training=faster, threads=threads,
            train=train.take(TRAIN_ROWS[name]), splits=(validation,),
        )  # fmt: skip

    return load


def ours(work):
    """What bertbench does."""
    from bertbench.quality import run
    from bertbench.records.progress import silent

    outcome = run.run(work, silent)
    values = {m.quantity: m for m in outcome.measurements}
    training, evaluation = values["training_time"], values["evaluation_time"]
    return Rates(training.n / training.values[0], evaluation.n / evaluation.values[0])


def peer(work, folder, *, to_max):
    """Transformers' Trainer with its defaults in fp32, batches padded to 128 or to their longest."""
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from bertbench.quality import run

    torch.set_num_threads(work.threads)
    ready = run.prepare(work)
    train, (validation,) = work.train, work.splits

    def rows(examples):
        columns = [list(column) for column in zip(*examples.inputs, strict=True)]
        padding = "max_length" if to_max else False
        encoded = ready.tokenizer(*columns, truncation=True, max_length=MAX_LENGTH, padding=padding)
        return [
            {key: encoded[key][i] for key in encoded} | {"labels": int(examples.labels[i])}
            for i in range(len(examples))
        ]

    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=PEER_BATCH, per_device_eval_batch_size=8, max_steps=PEER_STEPS,
        use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True, learning_rate=2e-5,
    )  # fmt: skip
    trainer = Trainer(
        ready.model, arguments, train_dataset=rows(train.first(PEER_STEPS * PEER_BATCH)),
        eval_dataset=rows(validation.first(400)), data_collator=DataCollatorWithPadding(ready.tokenizer),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    start = time.perf_counter()
    trainer.train()
    trained = time.perf_counter()
    trainer.predict(trainer.eval_dataset)
    ended = time.perf_counter()
    return Rates(PEER_STEPS * PEER_BATCH / (trained - start), min(400, len(validation)) / (ended - trained))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["sst2", "mrpc"])
def test_rates_against_peers(world, figures, tmp_path, name):
    """Training and evaluation take a fraction of what padding to the maximum in fp32 takes, and less than dynamic padding."""
    work = world(name)
    padded = peer(work, tmp_path, to_max=True)
    dynamic = peer(work, tmp_path, to_max=False)
    own = ours(work)
    times = Rates(own.training / padded.training, own.evaluation / padded.evaluation)
    figures.note(
        f"{name}: training {own.training:.0f} samples/s, padded to 128 {padded.training:.1f}, dynamic {dynamic.training:.1f}"
    )
    figures.note(
        f"{name}: evaluation {own.evaluation:.0f} samples/s, padded {padded.evaluation:.1f}, dynamic {dynamic.evaluation:.1f}"
    )
    figures.note(f"{name}: bf16 {'is' if work.bf16_training else 'is not'} used")
    training_bar, evaluation_bar = BARS[name]
    figures.judge(
        f"{name}: training against dynamic padding in fp32", f"{own.training / dynamic.training:.2f} times",
        f">= {DYNAMIC_BAR}", holds=own.training / dynamic.training >= DYNAMIC_BAR,
    )  # fmt: skip
    figures.judge(
        f"{name}: training against padding to 128", f"{times.training:.1f} times", f">= {training_bar:g}",
        holds=times.training >= training_bar,
    )  # fmt: skip
    figures.judge(
        f"{name}: evaluation against padding to 128", f"{times.evaluation:.1f} times", f">= {evaluation_bar:g}",
        holds=times.evaluation >= evaluation_bar,
    )  # fmt: skip
