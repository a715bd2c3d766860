"""A toy task of three labels, subjects to be examined, and ways to damage a checkpoint."""

import json
import random

from bertbench.models.demo_tokenizer import SPECIAL_TOKENS, vocabulary
from bertbench.models.sources import Source
from bertbench.quality import run
from bertbench.quality.doctor.subjects import ExaminedCheckpoint, ExaminedTask, ModelOnTask
from bertbench.quality.work import Work
from bertbench.specs import plugins
from bertbench.specs.tasks import TrainingSpec
from bertbench.tasks.examples import Examples
from tests.conftest import CONFIGS
from tests.factories import model_spec, task_spec

LABELS = ("contradiction", "neutral", "entailment")
WORDS = vocabulary()[len(SPECIAL_TOKENS) :]
DECIDING, FILLERS = WORDS[10:13], WORDS[20:32]
RECIPE = TrainingSpec(epochs=12, batch_size=8, learning_rate=5e-3, max_length=32)
TASK = task_spec("toy", labels=LABELS)
TAGS = task_spec(
    "tags", kind="token-classification", inputs=("words",), labels=("O", "B-X", "I-X"), metrics=("entity-f1",),
    primary_metrics=("entity-f1",),
)  # fmt: skip


def toy(split, count=60):
    """Texts in which one word decides the label."""
    draw = random.Random(split)
    labels = tuple(float(number % 3) for number in range(count))
    texts = [" ".join([*draw.choices(FILLERS, k=draw.randint(1, 9)), DECIDING[int(label)]]) for label in labels]
    ids = tuple(f"{split}-{number}" for number in range(count))
    return Examples(split, ids, tuple((text,) for text in texts), labels, count)


def task_data(train=None, validation=None, task=TASK):
    """A task's data; the toy's where nothing is given."""
    kind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    validation = validation or toy("validation")
    return ExaminedTask(task, kind, validation, validation, train or toy("train"))


def examples(*rows, split="train"):
    """Examples from (inputs..., label) rows."""
    ids = tuple(str(number) for number in range(len(rows)))
    return Examples(split, ids, tuple(row[:-1] for row in rows), tuple(row[-1] for row in rows), len(rows))


def source(folder, tokenizer=None, checkpoint=None, outputs=None):
    """Where a checkpoint and its tokenizer lie."""
    spec = model_spec(config=CONFIGS["bert"])
    weights = "pretrained" if folder else "random"
    return Source(spec, folder, tokenizer or folder or "demo", weights, "digest", checkpoint, outputs=outputs)


def checkpoint(folder, **fields):
    """A checkpoint to be examined."""
    return ExaminedCheckpoint(source(folder, **fields))


def pair(folder, mode="evaluate", data=None, outputs=None, max_length=32):
    """A model on a task, loaded."""
    data = data or task_data()
    work = Work(
        source=source(folder, outputs=outputs),
        task=data.task,
        mode=mode,
        recipe=RECIPE.updated({"max_length": max_length}),
        seed=0,
        device="cpu",
        dtype="fp32",
        bf16_training=False,
    )
    return ModelOnTask(work, data, run.prepare(work))


def rename(folder, names):
    """Call the outputs of a checkpoint `names`."""
    change_config(folder, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})


def change_config(folder, **values):
    """Write other values into config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def permute(edit_weights, folder, order):
    """Output i becomes what output order[i] was."""

    def change(tensors):
        for part in ("weight", "bias"):
            tensors[f"classifier.{part}"] = tensors[f"classifier.{part}"][list(order)].contiguous()

    edit_weights(folder, change)
