"""Whole classifiers are timed where every model has one for the task, and what a back-end answers is then scored."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bertbench.models.sources import Encoder, Source
from bertbench.session import inputs as _heads
from bertbench.session import inputs as _inputs
from bertbench.session.inputs import choose
from bertbench.session.timing import measure_speeds
from bertbench.session.variants import Checker, variants
from bertbench.tasks.data import Examples
from tests.factories import model_spec, task_spec
from tests.session.conftest import NATURAL

pytestmark = pytest.mark.usefixtures("quiet_machine")
TASK = task_spec("demo", training={"max_length": 16})


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch):
    """No config names a fine-tuned checkpoint."""
    monkeypatch.setattr(_heads, "finetuned_source", lambda *_: None)


@pytest.fixture
def classifier(tiny):
    """Makes a model with a head; `labels` are its own names of the outputs."""

    def make(name="bert", architecture="bert", labels=("negative", "positive")):
        folder = tiny(architecture, head="sequence-classification")
        path = folder / "config.json"
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | named), encoding="utf-8")
        return Encoder(Source(model_spec(name, architecture=architecture), folder, "demo", "pretrained", name), None)

    return make


def asked(begin, encoders, **options):
    """A session with the task."""
    return begin(encoders, tasks=[TASK], shapes=(NATURAL,), **({"backends": ("eager",)} | options))


def test_classifiers_where_all_have_one(classifier, begin, plan):
    """With a head for the task everywhere whole classifiers are timed, and each output's class is known."""
    both = [classifier(), classifier("albert", "albert", labels=("positive", "negative"))]
    heads = choose(asked(begin, both), both, plan(task=TASK))
    assert heads.head == "sequence-classification"
    assert heads.orders == {"bert": [0, 1], "albert": [1, 0]}
    assert {variant.settings.head for variant in variants(asked(begin, both), heads)} == {"sequence-classification"}


def test_a_published_fine_tuned_checkpoint_is_taken(classifier, encoder, begin, plan, monkeypatch):
    """What a config names as fine-tuned on the task is timed in place of the pre-trained model."""
    tuned, plain = classifier(), encoder("bert")
    monkeypatch.setattr(_heads, "finetuned_source", lambda *_: replace(tuned.source, weights="fine-tuned"))
    heads = choose(asked(begin, [plain]), [plain], plan(task=TASK))
    assert heads.encoders[0].source.folder == tuned.source.folder


def test_bare_encoders_where_one_has_none(classifier, encoder, begin, plan):
    """A model without a head is compared with bare encoders, and that is said."""
    both = [classifier(), encoder("albert", "albert")]
    session = asked(begin, both)
    heads = choose(session, both, plan(task=TASK))
    assert (heads.head, heads.task) == (None, None)
    assert heads.encoders == tuple(both)
    assert any("only bert can be had fine-tuned on demo" in line for line in session.said)


def test_bare_encoders_without_a_task_and_in_compare(classifier, begin, plan):
    """Heads are of `speed` with a task alone: `run` and `compare` time what they always did."""
    one = [classifier()]
    assert choose(begin(one), one, plan(task=TASK)).head is None
    assert choose(begin(one, command="compare", tasks=[TASK]), one, plan(task=TASK)).head is None


def test_score_of_logits(classifier, begin, plan):
    """The score is that of the classes that the outputs stand for."""
    one = [classifier(labels=("positive", "negative"))]
    heads = choose(asked(begin, one), one, plan(task=TASK))
    examples = Examples("validation", ("0", "1", "2"), (("a",),) * 3, (0.0, 1.0, 1.0), 3)
    logits = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)  # negative, positive, negative
    assert heads.score("bert", logits, examples) == pytest.approx(2 / 3)
    assert heads.score("bert", logits[:1], examples) == 1.0


def test_scores_stand_in_the_records(classifier, begin, plan):
    """Each way of running has its score on the same examples, PyTorch in fp32 too, and logits are what is compared."""
    session = asked(begin, [classifier()], dtypes=("fp32", "bf16"))
    measure_speeds(session, [classifier()], plan(task=TASK))
    scores = {record.settings["dtype"]: record.find("score", "audited") for record in session.written}
    assert set(scores) == {"fp32", "bf16"}
    assert all(score is not None and 0 <= score.values[0] <= 1 and score.n == 6 for score in scores.values())
    other = next(record for record in session.written if record.settings["dtype"] == "bf16")
    assert other.settings["head"] == "sequence-classification"
    assert "the class" in other.find("changed_predictions").note


def test_nothing_is_looked_at_where_all_is_pytorch_in_fp32(classifier, begin, plan):
    """Without another way of running there is nothing to check, and rounds are not held up by it."""
    one = [classifier()]
    session = asked(begin, one)
    heads = choose(session, one, plan(task=TASK))
    inputs = _inputs.prepare(session, one, plan(task=TASK))
    checker = Checker(session, variants(session, heads), inputs, heads)
    assert checker.inspect == []
    assert checker.findings(session.request.timing) == {}
