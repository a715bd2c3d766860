"""A command's session: when the store answers, and how an interrupted one goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertbench.errors import UnavailableError
from bertbench.models.sources import Encoder, Source
from bertbench.records.cautions import caution
from bertbench.records.progress import silent
from bertbench.records.record import UNAVAILABLE, Failure
from bertbench.records.store import Store
from bertbench.session import measure as session
from bertbench.session.cells import Plan
from bertbench.session.request import Options, Request
from bertbench.session.steps import Instruments, TaskData
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.tasks.examples import Examples
from tests import factories
from tests.factories import model_spec, quality_record, session_record, task_spec

EXAMPLES = Examples("validation", ("0",), (("a b",),), (0.0,), 1)
DECIDED = {"cuts": {"sst2": [96, 1.0]}, "training_dtype": "bf16"}


class PlannedError(Exception):
    """Ends `measure` where the plan would be made."""


def instruments(state="unreachable"):
    """A machine that is quick to look at, and a hub."""
    return Instruments(capture=lambda _: factories.environment(), hub_state=lambda: state)


def find(request, store, encoders, state="unreachable"):
    """The session that answers the request, on that machine."""
    return session.find(request, store, encoders, instruments=instruments(state))


def measure(request, store, encoders, make_plan, measure_costs=None):
    """Measure on that machine, with steps of another's."""
    session.measure(
        request, store, encoders, say=lambda _: None, progress=silent, yes=False, instruments=instruments(), make_plan=make_plan,
        measure_costs=measure_costs,
    )  # fmt: skip


def asked(*, may_be_random=True, **options):
    """A request for one model on one task."""
    suite = SuiteSpec(name="base", title="Base", models=("bert",), reference="bert")
    options = Options(**options)
    return Request("compare", (), suite, (model_spec(),), "bert", (task_spec(),), options, may_be_random=may_be_random)


@pytest.fixture
def encoder(tiny):
    """Its weights in a folder of its own."""
    folder = tiny()
    return Encoder(Source(model_spec(), folder, folder, "pretrained", "digest"), None)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path)


def keep(store, request, encoder, *, records=(), **fields):
    """Store a session that was asked the same."""
    identity = {"bert": encoder.source.identity}
    canonical = request.canonical(identity, {"sst2": "org/data None None"}, factories.environment().environment_class)
    kept = session_record(("bert",), request=canonical, **fields)
    store.write_session(kept)
    for record in records:
        store.write_record(record)
    return kept


def scored(**fields):
    """A finished quality record."""
    return quality_record("bert", factories.predictions(0.8, n=8), **fields)


def skipped(kind=UNAVAILABLE):
    """A quality record without a score."""
    return scored(status="skipped", error=Failure(kind, "no data"), measurements=(), weights="random")


def test_equal_session_answers(store, encoder):
    """A complete session of the same request is found; an incomplete one is not."""
    keep(store, asked(), encoder, records=[scored()], complete=False)
    assert find(asked(), store, [encoder]) is None
    keep(store, asked(), encoder)
    assert find(asked(), store, [encoder]).session.models == ("bert",)
    assert find(asked(seeds=(1,)), store, [encoder]) is None


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_changed_configuration_or_tokenizer_is_measured_again(store, encoder, name):
    """A local checkpoint whose config or tokenizer was edited is not answered with figures from before."""
    keep(store, asked(), encoder, records=[scored()])
    path = Path(encoder.source.folder) / name
    path.write_text(path.read_text() + "\n")
    assert find(asked(), store, [encoder]) is None


@pytest.mark.parametrize(
    ("state", "may_be_random", "found"),
    [("unreachable", True, True), ("offline", True, True), ("online", True, False), ("unreachable", False, False)],
)
def test_missing_quality_is_tried_again_where_it_may_be_had(store, encoder, state, may_be_random, found):
    """A session without scores answers `compare` while the hub is away; not once it is there, and never `run`."""
    request = asked(may_be_random=may_be_random)
    keep(store, request, encoder, records=[skipped()])
    assert (find(request, store, [encoder], state) is not None) is found


def test_failed_run_or_one_that_time_ran_out_for_is_tried_again(store, encoder):
    """What measuring again might cure is measured again."""
    keep(store, asked(), encoder, records=[scored(status="failed", error=Failure("MeasurementError", "x"))])
    assert find(asked(), store, [encoder]) is None
    store.write_record(skipped("OutOfTime"))
    assert find(asked(), store, [encoder]) is None


@pytest.mark.parametrize(
    "limited",
    [
        scored(settings={"is_sample": True}),
        scored(capped=True),
        scored(warnings=(caution("time-limit", rounds=3, planned=5),)),
        skipped("OutOfTime"),
    ],
    ids=["sample", "capped", "few rounds", "out of time"],
)
@pytest.mark.parametrize(("had", "has", "answers"), [(15, 15, True), (15, 5, True), (15, 30, False), (15, None, False)])
def test_more_time_measures_again_what_time_has_cut(store, encoder, limited, had, has, answers):
    """The same time, or less, is answered from the store; with more, or without a limit, it is gone on from there."""
    keep(store, asked(max_minutes=had), encoder, records=[limited], decisions={"max_minutes": had})
    assert (find(asked(max_minutes=has), store, [encoder]) is not None) is answers


def test_what_no_limit_has_cut_needs_no_more_time(store, encoder):
    """Training that was cut by --max-train-minutes alone is what was asked for."""
    keep(store, asked(max_train_minutes=1.0), encoder, records=[scored(capped=True)], decisions={"max_minutes": None})
    assert find(asked(max_train_minutes=1.0), store, [encoder]) is not None


@pytest.fixture
def earlier(store, encoder):
    """What `measure` hands to the plan as decided earlier."""

    def ask(request):
        given = []

        def make(*arguments):
            given.append(arguments[3])
            raise PlannedError

        with pytest.raises(PlannedError):
            measure(request, store, [encoder], make)
        return given[0]

    return ask


def test_interrupted_session_goes_on_with_its_decisions(store, encoder, earlier):
    """An equal request keeps cut and number format of the interrupted one; another request decides anew."""
    assert earlier(asked()) == {}
    keep(store, asked(), encoder, complete=False, decisions=DECIDED)
    assert earlier(asked()) == DECIDED
    assert earlier(replace(asked(), command="run")) == DECIDED
    assert earlier(asked(seeds=(1,))) == {}
    assert earlier(asked(max_train_minutes=1.0)) == {}


def test_decisions_are_stored_when_measuring_begins(store, encoder):
    """They are in the session's file before the first cell, so that an interruption cannot lose them."""

    def interrupted(*_):
        raise KeyboardInterrupt

    plan = Plan({}, (), (), DECIDED)
    with pytest.raises(KeyboardInterrupt):
        measure(asked(), store, [encoder], lambda *_: plan, interrupted)
    (stored,) = store.sessions()
    assert (stored.session.complete, stored.session.decisions) == (False, DECIDED)


@pytest.mark.parametrize(
    ("data", "tokenizer", "message"),
    [
        (TaskData(task_spec(), None, (), "the hub cannot be reached"), "demo", "task sst2: no texts to time: the hub"),
        (TaskData(task_spec(), None, (EXAMPLES,)), "", "model bert: no tokenizer for texts to time"),
        (TaskData(task_spec(), None, (EXAMPLES,)), "demo", None),
    ],
)
def test_real_texts_that_cannot_be_had_are_found_out_first(store, encoder, data, tokenizer, message):
    """Where only texts are to be timed and there are none, that is one clear error before any work is stored."""

    def measuring(*_):
        raise PlannedError

    plan = Plan({"sst2": data}, (), (), {})
    without = replace(encoder, source=replace(encoder.source, tokenizer=tokenizer))

    def time(*shapes):
        request = replace(asked(), kinds=("size", "speed"), timing=TimingSpec(shapes=shapes))
        measure(request, store, [without], lambda *_: plan, measuring)

    natural = ShapeSpec(sequence_length=None)
    with pytest.raises(PlannedError if message is None else UnavailableError, match=message):
        time(natural)
    assert (list(store.sessions()) == []) is (message is not None)
    with pytest.raises(PlannedError):
        time(natural, ShapeSpec())
