"""What the steps of one command share: names and records that never collide."""

import pytest

from bertbench.errors import MeasurementError, StoreError
from bertbench.models.sources import Encoder, Source
from bertbench.records.progress import silent
from bertbench.records.record import UNAVAILABLE, Failure
from bertbench.records.store import Store
from bertbench.session.request import Options, Request
from bertbench.session.steps import Session, guarded, slug
from bertbench.specs.suites import SuiteSpec
from tests.factories import environment, model_spec, session_record, task_spec

LONG = "/home/somebody/models/of/the/last/year/fine-tuned/on/everything/checkpoint-"
NAMES = (
    "a/b-c",
    "a-b/c",
    "a-b-c",
    "a/b/c",
    "a b c",
    "-a-b-c",
    "A-b-c",
    LONG + "1",
    LONG + "2",
    "./x",
    "../x",
    "x",
    "/",
)


@pytest.fixture
def session(tmp_path):
    """A session of models with awkward names."""
    models = tuple(model_spec(name) for name in NAMES)
    suite = SuiteSpec(name="base", title="Base", models=NAMES, reference=NAMES[0])
    asked = Request("run", (), suite, models, NAMES[0], (task_spec(),), Options(), may_be_random=False)
    return Session(asked, Store(tmp_path), print, silent, environment(), session_record(complete=False), None)


def test_different_names_stay_apart():
    """Names that differ only in what a file name cannot hold, or far behind, give different file names."""
    slugs = [slug(name) for name in NAMES]
    assert len(set(slugs)) == len(NAMES)
    for found in slugs:
        assert 0 < len(found) <= 60
        assert not set(found) & set("/\\: ")
        assert not found.startswith(".")


def test_plain_name_stays_as_it_is():
    """What can be a file name is one."""
    assert slug("distilbert-mini_v1.0") == "distilbert-mini_v1.0"


def test_records_of_all_models_lie_side_by_side(session):
    """No model's record overwrites another's, whatever their names are."""
    for spec in session.request.models:
        encoder = Encoder(Source(spec, None, "", "random", "d"), None)
        session.write("quality", encoder, "skipped", task_name="sst2", seed=0, error=Failure(UNAVAILABLE, "no data"))
    assert len({record.run_id for record in session.written}) == len(NAMES)
    session.store.write_session(session.record)
    (stored,) = session.store.sessions()
    assert sorted(record.model_name for record in stored.records) == sorted(NAMES)


def test_failure_is_caught_and_described():
    """An action's own error, or a bug in it, is a failure with its place; a failing store and Ctrl-C go through."""

    def fail(error):
        raise error

    assert guarded(lambda: 1)[:2] == (1, None)
    assert guarded(lambda: fail(MeasurementError("a", "b")))[1] == Failure("MeasurementError", "a", "b")
    assert guarded(lambda: fail(ValueError("x\ny")))[1].message.startswith("ValueError: x (test_steps.py:")
    for error in (StoreError("full"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            guarded(lambda error=error: fail(error))
