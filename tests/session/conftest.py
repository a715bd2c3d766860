"""What the tests of the steps share: sessions of models on the fake back-end, on a machine that costs nothing to measure."""

import json
from types import SimpleNamespace

import psutil
import pytest

from bertbench.models.sources import Encoder, Source
from bertbench.records.progress import silent
from bertbench.records.record import Environment
from bertbench.records.store import Store
from bertbench.session.request import Options, Request
from bertbench.session.steps import Instruments, Session, TaskData
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed import latency, watch
from bertbench.tasks.examples import Examples
from tests.factories import environment, model_spec, session_record, task_spec

SESSION_ID = "20261124T120000-aaaaaa"
FIXED = ShapeSpec(sequence_length=8)
NATURAL = ShapeSpec(sequence_length=None)
SPLIT = ShapeSpec(batch_size=2, sequence_length=None, whole_split=True)
TEXTS = ("a b c", "a b", "a", "b c a b", "c", "a c b a b")


@pytest.fixture
def quiet_machine(monkeypatch):
    """No other programs."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: 0.0)
    monkeypatch.setattr(latency, "WIDE_SPREAD", 1e9)  # the fake back-end sleeps, which a busy machine lengthens
    monkeypatch.setattr(watch.Watch, "findings", lambda _: [])


def instruments(**fakes):
    """A machine without counters whose ceiling is known."""
    quick = {"ceiling": lambda *_: (1e11, (1024, 1024, 1024)), "meters": lambda _: ([], "no counters")}
    return Instruments(**(quick | fakes))


@pytest.fixture
def encoder(tiny, tmp_path):
    """Makes models: `encoder("bert", seconds_per_pass=0.001)` has such a config, which the fake back-end follows."""

    def make(name="bert", architecture="bert", tokenizer="demo", **config):
        folder = tiny(architecture)
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | config), encoding="utf-8")
        spec = model_spec(name, architecture=architecture)
        return Encoder(Source(spec, folder, tokenizer, "pretrained", f"digest of {name}"), None)

    return make


@pytest.fixture
def begin(tmp_path):
    """Starts a session of encoders: `begin(encoders, shapes=…, command=…, asked_of=instruments(…), **options)`; `said` holds its words."""

    def start(
        encoders,
        *,
        shapes=(FIXED,),
        command="speed",
        rounds=2,
        turns=2,
        tasks=(),
        timing=None,
        asked_of=None,
        **options,
    ):
        names = tuple(encoder.spec.name for encoder in encoders)
        specs = tuple(encoder.spec for encoder in encoders)
        suite = SuiteSpec(name="base", title="Base", models=names, reference=names[0])
        values = {"rounds": rounds, "turns": turns, "passes": 1, "min_turn_s": 0, "shapes": shapes} | (timing or {})
        asked = Request(
            command, (), suite, specs, names[0], tuple(tasks), Options(**({"backends": ("fake",)} | options)), may_be_random=True,
            timing=TimingSpec(**values), kinds=("speed",),
        )  # fmt: skip
        said = []
        record = session_record(names, session_id=SESSION_ID, complete=False)
        session = Session(
            asked,
            Store(tmp_path / "results"),
            said.append,
            silent,
            environment(),
            record,
            None,
            instruments=asked_of or instruments(),
        )
        session.store.write_session(record)
        session.said = said
        return session

    return start


@pytest.fixture
def plan():
    """Makes a plan that holds a task's texts, those to train on if there are any, or says why there are none."""

    def make(texts=TEXTS, absent=None, task=None, train=None):
        count = len(texts)
        ids = tuple(map(str, range(count)))
        examples = Examples("validation", ids, tuple((text,) for text in texts), (0.0,) * count, count)
        task = task or task_spec("demo", training={"max_length": 16})
        if train is not None:
            ids = tuple(map(str, range(len(train))))
            train = Examples("train", ids, tuple((text,) for text in train), (0.0,) * len(train), len(train))
        return SimpleNamespace(data={task.name: TaskData(task, train, () if absent else (examples,), absent)})

    return make


def machine_of(session):
    """The environment class that facts are stored under."""
    assert isinstance(session.environment, Environment)
    return session.environment.environment_class
