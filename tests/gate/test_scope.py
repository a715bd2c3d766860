"""What of a baseline is checked: tasks, models and kinds that it has, measured as they were before."""

from dataclasses import replace

import pytest

from bertbench.errors import UsageError
from bertbench.gate.finding import Margins
from bertbench.gate.scope import GateScope, of_tasks
from bertbench.records.store import Store
from bertbench.specs.catalog import Catalog
from tests.factories import study
from tests.gate.conftest import MODEL, TASK, baseline, saved


@pytest.fixture
def before():
    """A baseline of two packaged models."""
    catalog = Catalog()
    models = {name: catalog.model(name).model_dump(mode="json") for name in ("bert", MODEL)}
    options = {"threads": 1, "seeds": [4], "eval_samples": 20}
    timing = {"rounds": 8, "shapes": [{"batch_size": 1, "sequence_length": 128}]}
    return saved(models=models, options=options, timing=timing)


def scope(tmp_path, before, **options):
    """What is checked with these options."""
    return GateScope.of(study(Store(tmp_path), "check", fresh=True, yes=True, seeds="1", **options), before)


def test_everything_is_checked_unless_less_is_asked_for(tmp_path, before):
    """All models of the baseline, and the kinds that it has; the reference is measured beside those named."""
    whole = scope(tmp_path, before)
    assert (whole.names, whole.kinds) == (("bert", MODEL), ("size", "speed", "memory", "quality"))
    part = scope(tmp_path, before, models=MODEL, only="speed")
    assert (part.names, part.kinds) == ((MODEL,), ("speed",))
    assert [spec.name for spec in part.specs] == [MODEL, "bert"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": "albert"}, "--models albert: is not in the baseline. It has bert, distilbert"),
        ({"models": "bert", "only": "memory"}, "nothing to compare"),
        ({"models": "bert", "only": "size"}, "nothing to compare"),
        ({"suite": "demo"}, "the baseline is of sst2, suite demo has"),
    ],
)
def test_what_the_baseline_lacks_is_refused(tmp_path, before, options, message):
    """One line that says what it has."""
    with pytest.raises(UsageError, match=message):
        scope(tmp_path, before, **options)


def test_it_is_measured_as_before(tmp_path, before):
    """Samples, seed, threads and timing are the baseline's; the options that were given stay as they were."""
    checked = scope(tmp_path, before)
    given = checked.study.options
    request = checked.request(("speed",), Margins())
    assert (request.options.eval_samples, request.options.seeds, request.options.threads) == (20, (4,), 1)
    assert (request.kinds, request.options.keep_checkpoints) == (("speed",), "none")
    assert checked.study.options is given
    assert given.eval_samples is None


def test_scores_of_the_named_tasks_alone(before):
    """A task that the baseline has not is refused."""
    assert of_tasks(before, None) is before
    assert of_tasks(before, TASK).baseline.scores == before.baseline.scores
    without = replace(before, baseline=baseline(tasks=(TASK, "rte")))
    assert of_tasks(without, "rte").baseline.scores == ()
    with pytest.raises(UsageError, match="--task mrpc: is not in the baseline"):
        of_tasks(before, "mrpc")
