"""Specs: defaults, what they refuse, and how published figures are stored."""

import pytest
from pydantic import ValidationError

from bertbench.specs.catalog import spec_types
from bertbench.specs.claims import ClaimSpec
from bertbench.specs.models import FineTuned, ModelSpec, Published
from bertbench.specs.papers import PaperSpec
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import DatasetSpec, TaskSpec, TrainingSpec
from bertbench.specs.timing import ShapeSpec, TimingSpec

MODEL = {"name": "mine", "title": "Mine", "architecture": "bert", "checkpoint": "me/mine"}
TASK = {
    "name": "mine",
    "title": "Mine",
    "dataset": {"generator": "demo"},
    "inputs": ["text"],
    "labels": ["a", "b"],
    "metrics": ["accuracy", "f1"],
    "primary_metrics": ["accuracy"],
}
CLAIM = {
    "name": "mine",
    "wording": "w",
    "source": "s",
    "definition": "d",
    "model": "a",
    "reference": "b",
    "quantity": "latency",
    "relation": "at_least",
    "expected": 1.6,
    "margin": 0.1,
}
PAPER = {
    "name": "mine",
    "title": "Mine",
    "source": "s",
    "models": ["a", "b"],
    "reference": "a",
    "task": "sst2",
    "published": {"a": 2.0, "b": 1.0},
}


@pytest.mark.parametrize("spec_type", spec_types().values())
def test_specs_refuse_unknown_keys(spec_type):
    """A key that a spec does not know is an error, not ignored."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        spec_type(nonsense=1)


def test_specs_cannot_be_changed():
    """A spec stays what it was when it was checked."""
    with pytest.raises(ValidationError, match="frozen"):
        ShapeSpec().batch_size = 2


def test_points_are_stored_as_shares():
    """Scores are published in points of 100 and stored from 0 to 1."""
    published = Published(
        row="accuracy", statement="92.7", source="paper", quantity="accuracy", value=92.7, unit="points"
    )

    assert published.value == pytest.approx(0.927)
    assert published.unit == "1"


def test_absent_published_value_stays_absent():
    """A statement without a figure has no value, not 0."""
    assert Published(row="use", statement="speed", source="paper", unit="points").value is None


def test_model_needs_weights_or_an_architecture():
    """A model has a checkpoint, a config, or both."""
    with pytest.raises(ValidationError, match=r"'checkpoint' .* or 'config'"):
        ModelSpec(name="mine", title="Mine", architecture="bert")
    assert ModelSpec(name="mine", title="Mine", architecture="bert", config={"hidden_size": 8}).checkpoint is None


def test_model_recipe_is_checked():
    """A model's own recipe is refused where a TrainingSpec would refuse it."""
    assert ModelSpec(**MODEL, training={"learning_rate": 1e-5}).training == {"learning_rate": 1e-5}
    with pytest.raises(ValidationError, match="learning_rat"):
        ModelSpec(**MODEL, training={"learning_rat": 1e-5})


@pytest.mark.parametrize("origins", [{}, {"path": "a/b", "folder": "c"}, {"folder": "c", "generator": "d"}])
def test_data_set_has_exactly_one_origin(origins):
    """A data set comes from the hub, a folder or a generator, and only from one."""
    with pytest.raises(ValidationError, match="exactly one of 'path', 'folder' and 'generator'"):
        DatasetSpec(**origins)


def test_task_without_labels_is_a_regression():
    """No labels mean that the label is a number."""
    assert not TaskSpec(**TASK).is_regression
    assert TaskSpec(**(TASK | {"labels": None})).is_regression


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primary_metrics": ["spearman"]}, "are not among 'metrics'"),
        ({"labels": ["a", "a"]}, "repeats a name"),
        ({"labels": ["a"]}, "at least 2"),
        ({"inputs": ["a", "b", "c"]}, "at most 2"),
        ({"evaluation_splits": []}, "at least 1"),
        ({"name": "My Task"}, "pattern"),
    ],
)
def test_task_refuses_what_cannot_be_measured(change, message):
    """A task's keys must fit each other."""
    with pytest.raises(ValidationError, match=message):
        TaskSpec(**(TASK | change))


def test_recipe_is_updated_by_what_is_given():
    """Options that are not given leave the recipe as it is; given ones are checked."""
    recipe = TrainingSpec(epochs=2).updated({"batch_size": 8, "epochs": None})

    assert (recipe.epochs, recipe.batch_size) == (2, 8)
    with pytest.raises(ValidationError, match="batch_size"):
        recipe.updated({"batch_size": 0})


def test_suite_reference_is_one_of_its_models():
    """What ratios refer to must be compared too."""
    with pytest.raises(ValidationError, match="'x' is not among 'models'"):
        SuiteSpec(name="mine", title="Mine", models=["a"], reference="x")


def test_shape_says_what_it_times():
    """A shape is of fixed or of natural length and has a short label."""
    assert (ShapeSpec().scenario, ShapeSpec().label) == ("fixed", "1x128")
    natural = ShapeSpec(batch_size=8, sequence_length=None)
    assert (natural.scenario, natural.label) == ("natural", "8xnatural")


def test_timing_needs_two_rounds_and_a_shape():
    """One round has no spread, and without a shape nothing is timed."""
    with pytest.raises(ValidationError, match="rounds"):
        TimingSpec(rounds=1)
    with pytest.raises(ValidationError, match="shapes"):
        TimingSpec(shapes=[])


@pytest.mark.parametrize(
    "change",
    [
        {"expected": float("nan")},
        {"margin": float("inf")},
        {"margin": -0.1},
        {"relation": "about"},
        {"statistic": "median"},
        {"margin": 1.6},
        {"expected": -1.0, "relation": "at_most"},
        {"task": "sst2", "tasks": ("rte",)},
        {"checkpoints": {"c": "org/c"}},
        {"expect": "not measured"},
        {"needs": {"rounds": 1}},
        {"needs": {"luck": 1}},
    ],
)
def test_claim_refuses_what_cannot_be_judged(change):
    """A claim has a finite expectation, a margin of at least 0 and a known relation."""
    assert ClaimSpec(**CLAIM).statistic == "ratio"
    with pytest.raises(ValidationError):
        ClaimSpec(**(CLAIM | change))


def test_training_samples_belong_to_the_task():
    """A task may limit its training samples; a model may not, as all models get the same."""
    assert TaskSpec(**TASK, training={"train_samples": 100}).training.train_samples == 100
    with pytest.raises(ValidationError, match="all models get the same samples"):
        ModelSpec(**MODEL, training={"train_samples": 100})


@pytest.mark.parametrize(
    "shape", [{"sequence_length": 16}, {"sequence_length": None}, {"sequence_length": None, "whole_split": True}]
)
def test_shapes_are_distinct(shape):
    """A shape given twice is refused: figures could not be told apart; another batch size is another shape."""
    with pytest.raises(ValidationError, match="shapes"):
        TimingSpec(shapes=[shape, shape | {"turns": 3}])
    assert len(TimingSpec(shapes=[shape, shape | {"batch_size": 2}]).shapes) == 2


def test_whole_split_is_of_natural_length():
    """A whole split has a label and a scenario of its own, beside single batches; a fixed length contradicts it."""
    shape = ShapeSpec(batch_size=8, sequence_length=None, whole_split=True)
    assert (shape.scenario, shape.label) == ("offline", "8xsplit")
    assert len(TimingSpec(shapes=[shape, ShapeSpec(batch_size=8, sequence_length=None)]).shapes) == 2
    with pytest.raises(ValidationError, match="goes with natural lengths"):
        ShapeSpec(sequence_length=128, whole_split=True)


@pytest.mark.parametrize("change", [{"precision": 0}, {"precision": 1.5}, {"warmup_passes": 0}, {"timeout_s": 0}])
def test_timing_refuses_what_cannot_be_timed(change):
    """A precision is a share, warm-up passes and time limits are at least something, or left to what is known."""
    assert (TimingSpec().precision, TimingSpec().warmup_passes) == (None, None)
    with pytest.raises(ValidationError, match=next(iter(change))):
        TimingSpec(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "c"}, "c: not among 'models'"),
        ({"published": {"a": 1.0, "c": 2.0}}, "c: not among 'models'"),
        ({"published": {"a": 0.0}}, "greater than 0"),
        ({"quantity": "latency"}, "inference_time"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_paper_is_about_its_models(change, message):
    """A published measurement states figures above 0 of models that are timed."""
    assert PaperSpec(**PAPER).batch_size == 1
    with pytest.raises(ValidationError, match=message):
        PaperSpec(**(PAPER | change))


@pytest.mark.parametrize(
    ("field", "value"),
    [("recipe", "taught"), ("scores", {"accuracy": 101}), ("scores", {"accuracy": 91.0}), ("recpie", "distilled")],
)
def test_published_checkpoint_is_checked(field, value):
    """An unknown way of learning, a score beyond 100 points or without a source, and an unknown key are refused."""
    with pytest.raises(ValidationError):
        FineTuned(**{"checkpoint": "a/b", field: value})


def test_published_scores_are_of_one_checkpoint():
    """In points in YAML, as shares of one where they are used, and only beside what was measured of that checkpoint."""
    entry = {"checkpoint": "a/b", "scores": {"accuracy": 91.3}, "source": "model card"}
    spec = ModelSpec(**MODEL, finetuned={"sst2": entry})
    assert spec.scores_of("a/b", "sst2") == [("accuracy", 0.913, "a/b: model card")]
    assert spec.scores_of("me/mine", "sst2") == spec.scores_of("a/b", "cola") == spec.scores_of("a/b", None) == []


def test_what_is_said_of_a_checkpoint_decides_no_figure():
    """Recipe, origin and published scores are no part of what tells equal checkpoints."""
    plain = FineTuned(checkpoint="a/b", labels=("x", "y"))
    told = FineTuned(
        checkpoint="a/b", labels=("x", "y"), recipe="distilled", origin="o", scores={"accuracy": 91.0}, source="s"
    )
    assert (
        plain.measured
        == told.measured
        == {"checkpoint": "a/b", "revision": None, "tokenizer": None, "labels": ["x", "y"]}
    )
