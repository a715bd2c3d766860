"""Evaluating block by block: the same examples for all models, as far as time goes, and on from what is there."""

import pytest

from bertbench.errors import MeasurementError, OutOfTimeError
from bertbench.models.sources import Encoder, Source
from bertbench.quality.evaluate import Replies, TextLosses
from bertbench.quality.run import Evaluated
from bertbench.quality.work import Work
from bertbench.records.cautions import caution
from bertbench.records.progress import Unwatched, silent
from bertbench.records.store import Store
from bertbench.session.cells import Cell
from bertbench.session.evaluations import measure_evaluations
from bertbench.session.request import Options, Request
from bertbench.session.steps import Instruments, Session
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TrainingSpec
from bertbench.tasks.examples import Examples
from tests.factories import environment, model_spec, session_record, task_spec

said = []  # of the newest session
IDS = [f"20261124T12000{number}-aaaaaa" for number in range(9)]
SMALL = {
    "vocab_size": 430, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "pad_token_id": 0,
}  # fmt: skip
RECIPE = TrainingSpec(epochs=1, batch_size=4, max_length=16)


class Machine:
    """Answers `right` of every ten examples rightly, takes a second an example, and keeps the time."""

    def __init__(self, seconds=1.0, fails=(), slow_from=None, bf16=None):
        self.now, self.seconds, self.fails, self.slow_from, self.seen = 0.0, seconds, fails, slow_from, []
        self.bf16 = bf16  # times as fast, and how many answers of a block are other ones; None: no such instructions
        self.formats = []

    def answer(self, work, _progress):
        """The answers to the splits of a work; raises what a real one would."""
        name = work.source.spec.name
        if name in self.fails:
            raise MeasurementError(f"{name} is too hot")
        count = sum(len(split) for split in work.splits)
        self.seen.append((name, work.task.name, tuple(example for split in work.splits for example in split.ids)))
        self.formats.append(work.dtype)
        speed, others = (1.0, 0) if work.dtype == "fp32" else self.bf16
        self.now += self.seconds * count / speed
        if self.slow_from is not None and self.now > self.slow_from:
            raise OutOfTimeError("stopped")
        return Evaluated([replies(split, speed, others) for split in work.splits], [caution("new-pooler")], "sdpa")


def replies(split, speed=1.0, others=0):
    """Every answer right but for each tenth example; each fifth was cut; `others` are not what they would be in fp32."""
    wrong = [int(name.split("-")[1]) % 10 == 0 for name in split.ids]
    columns = {
        "example_id": list(split.ids),
        "split": [split.split] * len(split),
        "prediction": [int(1 - label if no else label) for label, no in zip(split.labels, wrong, strict=True)],
        "scores": [[0.0, 1.0]] * len(split),
        "label": list(split.labels),
    }
    columns["prediction"][:others] = [1 - label for label in columns["prediction"][:others]]
    cut = sum(int(name.split("-")[1]) % 5 == 0 for name in split.ids)
    return Replies(columns, 1.0 / speed, TextLosses(len(split), len(split), cut, 0))


def examples(count, split="validation"):
    """Numbered examples."""
    ids = tuple(f"{split}-{number}" for number in range(count))
    return Examples(split, ids, (("good",),) * count, (1.0, 0.0) * (count // 2), count)


@pytest.fixture
def evaluate(tmp_path):
    """Evaluates models on tasks: `evaluate(machine, {"sst2": 600}, models=…, minutes=…)`; gives the session."""
    numbers = iter(IDS)

    def make(machine, tasks, models=("bert", "distilbert"), minutes=None, watch=None, **options):
        suite = SuiteSpec(name="base", title="Base", models=models, reference=models[0])
        specs = tuple(model_spec(name, config=SMALL) for name in models)
        chosen = Options(max_minutes=minutes, samples=True, **options)
        asked = Request("run", (), suite, specs, models[0], (), chosen, may_be_random=False, started=0.0)
        record = session_record(models, session_id=next(numbers), complete=False)
        machine.now = 0.0
        said.clear()
        session = Session(
            asked, Store(tmp_path), said.append, silent, environment(), record, asked.deadline,
            instruments=Instruments(monotonic=lambda: machine.now, has_bf16=lambda _: machine.bf16 is not None),
        )  # fmt: skip
        session.watch = watch or session.watch
        session.store.write_session(record)
        cells = [
            cell(spec, task_spec(task), examples(count), machine.seconds)
            for task, count in tasks.items()
            for spec in specs
        ]
        measure_evaluations(session, cells, machine.answer)
        return session

    return make


def cell(spec, task, split, per_example_s):
    """The evaluation of a checkpoint."""
    source = Source(spec, None, "demo", "fine-tuned", f"digest of {spec.name}")
    work = Work(source, task, "evaluate", RECIPE, 0, "cpu", "fp32", bf16_training=False, splits=(split,))
    return Cell(Encoder(source, None), task, 0, work, per_example_s=per_example_s)


def sizes(session):
    """By model and task how many examples were evaluated, and whether these are all."""
    return {
        (record.model_name, record.task_name): (
            record.settings.get("eval_samples") if record.status == "ok" else record.status,
            record.settings.get("is_sample", False),
        )
        for record in session.written
    }


def test_without_a_limit_every_example_is_evaluated(evaluate):
    """The record is of the whole split, in its order, with what was lost of all of it."""
    session = evaluate(Machine(), {"sst2": 600})
    assert sizes(session) == {("bert", "sst2"): (600, False), ("distilbert", "sst2"): (600, False)}
    record = session.written[0]
    assert record.find("accuracy").values == (0.9,)
    assert record.find("accuracy").n == 600
    assert record.find("evaluation_time").values == (4.0,)  # of four blocks
    frame = next(session.store.sessions()).sidecar(record, "predictions")
    assert list(frame["example_id"]) == list(examples(600).ids)
    assert caution("cut-examples", cut=120, examples=600, split="validation", tokens=16) in record.warnings
    assert caution("new-pooler") in record.warnings


def test_models_see_the_same_examples_block_by_block(evaluate):
    """Each block is done by every model before any goes on, and tasks take turns."""
    machine = Machine()
    evaluate(machine, {"sst2": 300, "rte": 200})
    assert [(name, task, len(ids)) for name, task, ids in machine.seen] == [
        ("bert", "sst2", 128), ("distilbert", "sst2", 128), ("bert", "rte", 128), ("distilbert", "rte", 128),
        ("bert", "sst2", 172), ("distilbert", "sst2", 172), ("bert", "rte", 72), ("distilbert", "rte", 72),
    ]  # fmt: skip
    assert machine.seen[0][2] == machine.seen[1][2]
    assert set(machine.seen[0][2]).isdisjoint(machine.seen[4][2])


def test_time_ends_it_and_the_record_says_of_how_many(evaluate):
    """What fits is evaluated, by all models alike; the rest is there to be gone on with."""
    machine = Machine(seconds=0.5)
    session = evaluate(machine, {"sst2": 5000}, minutes=10.0)
    assert sizes(session) == {("bert", "sst2"): (600, True), ("distilbert", "sst2"): (600, True)}
    assert machine.now <= 600
    assert all(record.settings["eval_available"] == 5000 for record in session.written)
    assert len(list(session.store.folder(session.id).glob("predictions-*.parquet"))) == 2  # smaller samples' are gone


def test_what_is_done_is_gone_on_from(evaluate):
    """The same command with more time evaluates only what is new, and gives what one long command gives."""
    machine = Machine()
    evaluate(machine, {"sst2": 700}, minutes=10.0)
    first = {ids for _, _, ids in machine.seen}
    machine.seen.clear()
    session = evaluate(machine, {"sst2": 700})
    assert sizes(session) == {("bert", "sst2"): (700, False), ("distilbert", "sst2"): (700, False)}
    assert not {name for ids in first for name in ids} & {name for _, _, ids in machine.seen for name in ids}
    at_once = evaluate(Machine(), {"sst2": 700}, fresh=True)
    for joined, whole in zip(session.written, at_once.written, strict=True):
        assert joined.key == whole.key
        assert joined.find("accuracy") == whole.find("accuracy")
        assert joined.settings["losses"] == whole.settings["losses"]
        assert joined.find("evaluation_time") is None  # times belong to their session
        assert any(item.kind == "taken-over" for item in joined.cautions)


def test_nothing_is_repeated_where_all_is_done(evaluate):
    """A finished evaluation is taken over as it is, run id and all."""
    machine = Machine()
    before = evaluate(machine, {"sst2": 200})
    machine.seen.clear()
    after = evaluate(machine, {"sst2": 200}, minutes=1.0)
    assert machine.seen == []
    assert [record.run_id for record in after.written] == [record.run_id for record in before.written]


class Watching(Unwatched):
    """Keeps which runs it was told of, in turn, and which of them still stand."""

    def __init__(self):
        self.told, self.standing = [], {}

    def tell(self, record):
        """Keep the run."""
        self.told.append(record.run_id)
        self.standing[record.run_id] = record

    def forget(self, record):
        """Drop the run."""
        del self.standing[record.run_id]


def test_whoever_watches_is_told_once_of_what_is_taken_over(evaluate):
    """A finished evaluation is told of when it is taken over, in the place of a sample of it that was shown meanwhile."""
    before = evaluate(Machine(), {"sst2": 700}, models=("bert",))
    watch = Watching()
    session = evaluate(Machine(), {"sst2": 700}, watch=watch)
    taken = before.written[0].run_id
    assert watch.told.count(taken) == 1
    assert len(set(watch.told)) == 3  # with samples of both models
    assert watch.standing == {record.run_id: record for record in session.written}
    assert {record.model_name for record in watch.standing.values()} == {"bert", "distilbert"}
    again = Watching()
    evaluate(Machine(), {"sst2": 700}, watch=again)
    assert sorted(again.told) == sorted(watch.standing)


def test_a_model_that_joins_catches_up(evaluate):
    """What others have done before is not repeated; the table is of the examples that all have seen."""
    machine = Machine()
    evaluate(machine, {"sst2": 700}, models=("bert",))
    machine.seen.clear()
    session = evaluate(machine, {"sst2": 700}, models=("bert", "albert"), minutes=5.0)
    assert {name for name, _, _ in machine.seen} == {"albert"}
    count, is_sample = sizes(session)["albert", "sst2"]
    assert sizes(session) == {("bert", "sst2"): (count, True), ("albert", "sst2"): (count, is_sample)}
    assert 128 < count <= 300
    bert, albert = session.written
    assert bert.data_fingerprint == albert.data_fingerprint
    assert [record.settings["losses"][0]["examples"] for record in (bert, albert)] == [count, count]


def test_a_block_that_takes_too_long_is_dropped(evaluate):
    """Where time runs out in the midst of a block, the record is of the blocks that all models have done."""
    machine = Machine(slow_from=300.0)
    session = evaluate(machine, {"sst2": 5000}, minutes=100.0)
    assert sizes(session) == {("bert", "sst2"): (128, True), ("distilbert", "sst2"): (128, True)}


def test_one_that_fails_leaves_the_others(evaluate):
    """The failure is a record; the others go on without it."""
    session = evaluate(Machine(fails=("bert",)), {"sst2": 300})
    assert sizes(session) == {("distilbert", "sst2"): (300, False), ("bert", "sst2"): ("failed", False)}
    assert next(record for record in session.written if record.status == "failed").error.message == "bert is too hot"


def test_what_does_not_fit_says_what_it_needs(evaluate):
    """Without time for a first block there is a record that says how much it takes."""
    session = evaluate(Machine(seconds=100.0), {"sst2": 300}, minutes=1.0)
    assert sizes(session) == {("bert", "sst2"): ("skipped", False), ("distilbert", "sst2"): ("skipped", False)}
    assert set(session.late) == {"sst2"}
    assert {record.error.kind for record in session.written} == {"OutOfTime"}


def test_an_interruption_loses_no_block(evaluate):
    """Ctrl-C in the midst leaves the records of what was done."""
    machine = Machine()
    whole = machine.answer

    def answer(work, progress):
        if len(machine.seen) == 2:
            raise KeyboardInterrupt
        return whole(work, progress)

    machine.answer = answer
    with pytest.raises(KeyboardInterrupt):
        evaluate(machine, {"sst2": 600})
    machine.answer = whole
    machine.seen.clear()
    session = evaluate(machine, {"sst2": 600})
    assert sizes(session) == {("bert", "sst2"): (600, False), ("distilbert", "sst2"): (600, False)}
    assert sum(len(ids) for name, _, ids in machine.seen if name == "bert") == 600 - 128


def test_other_weights_are_another_evaluation(evaluate, monkeypatch):
    """What other weights or another length gave is not gone on from."""
    machine = Machine()
    evaluate(machine, {"sst2": 300}, minutes=5.0)
    machine.seen.clear()
    monkeypatch.setitem(globals(), "RECIPE", RECIPE.updated({"max_length": 8}))
    evaluate(machine, {"sst2": 300}, minutes=5.0)
    assert len(machine.seen[0][2]) == 128


@pytest.mark.parametrize(
    ("bf16", "allowed", "expected"),
    [
        ((2.0, 0), True, "bf16"),
        ((1.1, 0), True, "fp32"),  # hardly faster
        ((2.0, 1), True, "fp32"),  # of 256 answers two are others
        ((2.0, 0), False, "fp32"),  # --dtype fp32
        (None, True, "fp32"),  # no instructions for it
    ],
)
def test_the_number_format_is_decided_once_for_all(evaluate, bf16, allowed, expected):
    """bf16 where it is clearly faster and answers alike; the first blocks are of use in either case."""
    machine = Machine(bf16=bf16)
    session = evaluate(machine, {"sst2": 300, "rte": 200}, may_use_bf16=allowed)
    assert {record.settings["dtype"] for record in session.written} == {expected}
    assert set(sizes(session).values()) == {(300, False), (200, False)}
    tried = bf16 is not None and allowed
    assert session.record.decisions.get("evaluation_dtype") == (expected if tried else None)
    assert machine.formats[:2] == (["fp32", "bf16"] if tried else ["fp32", "fp32"])
    assert set(machine.formats[8:]) <= {expected}


def test_a_decided_format_is_kept(evaluate):
    """Whoever goes on does so in the format of before, whatever the machine would show now; a little work tries nothing."""
    machine = Machine(bf16=(2.0, 0))
    evaluate(machine, {"sst2": 300}, minutes=9.0, may_use_bf16=True)
    quick = Machine(seconds=0.01, bf16=(2.0, 0))
    assert evaluate(quick, {"rte": 300}, may_use_bf16=True).record.decisions.get("evaluation_dtype") is None
    assert set(quick.formats) == {"fp32"}


def records_of(session, model):
    """What the session's folder holds of a model, as any reader finds it."""
    (stored,) = [stored for stored in session.store.sessions() if stored.session.session_id == session.id]
    return [record for record in stored.records if record.model_name == model]


def test_what_is_whole_stands_alone_once_others_have_caught_up(evaluate):
    """While another model catches up there is a sample; in the end the session holds the whole evaluation and nothing else."""
    machine = Machine()
    evaluate(machine, {"sst2": 600}, models=("bert",))
    session = evaluate(machine, {"sst2": 600})
    (record,) = records_of(session, "bert")
    assert (record.settings["eval_samples"], record.settings.get("is_sample")) == (600, None)
    assert len(records_of(session, "distilbert")) == 1
    assert len(session.written) == 2


def test_the_largest_sample_is_gone_on_from(evaluate):
    """A shorter session in between, with other models, takes nothing away."""
    machine = Machine(seconds=0.1)
    evaluate(machine, {"sst2": 5000}, models=("bert",), minutes=3.0)
    evaluate(machine, {"sst2": 5000}, minutes=0.5)
    machine.seen.clear()
    evaluate(machine, {"sst2": 5000}, models=("bert",), minutes=4.0)
    assert sum(len(ids) for _, _, ids in machine.seen) <= 2400


def test_a_failure_later_on_takes_nothing_away(evaluate):
    """What all models have done before one fails stands, is said, and is gone on from."""
    machine = Machine()
    whole = machine.answer

    def answer(work, progress):
        if len(machine.seen) == 5:
            raise MeasurementError("out of memory")
        return whole(work, progress)

    machine.answer = answer
    session = evaluate(machine, {"sst2": 2000})
    assert sizes(session) == {("bert", "sst2"): (256, True), ("distilbert", "sst2"): (256, True)}
    told = [record.model_name for record in session.written for item in record.cautions if item.kind == "failed-later"]
    assert told == ["distilbert"]
    times = {record.model_name: record.find("evaluation_time") for record in session.written}
    assert times["bert"] is None  # it has answered more than is shown, and only the whole was timed
    assert times["distilbert"].values == (2.0,)
    (stored,) = session.store.sessions()
    assert any("failed (out of memory)" in str(item) for record in stored.records for item in record.cautions)


def test_a_strangers_record_is_no_traceback(evaluate):
    """What says impossible things of its examples is said and not gone on from."""
    machine = Machine()
    first = evaluate(machine, {"sst2": 600}, minutes=8.0)
    for record in first.written:
        record.settings["losses"] = [{"examples": "many", "more": 3}]
        first.store.write_record(record)
    machine.seen.clear()
    session = evaluate(machine, {"sst2": 600})
    assert set(sizes(session).values()) == {(600, False)}
    assert len(machine.seen[0][2]) == 128
    assert sum("cannot continue from run" in line for line in said) == 2


def test_what_is_done_of_one_is_shown_though_another_has_nothing(evaluate):
    """A finished evaluation is in the table, whatever time there is for others."""
    machine = Machine()
    evaluate(machine, {"sst2": 200}, models=("bert",))
    slow = Machine(seconds=100.0)
    session = evaluate(slow, {"sst2": 200}, minutes=1.0)
    assert sizes(session) == {("bert", "sst2"): (200, False), ("distilbert", "sst2"): ("skipped", False)}


def test_what_was_done_in_a_format_decides_it(evaluate):
    """Answers in bf16, or in fp32, are gone on from by whoever joins; nothing is tried again, and no format mixed."""
    machine = Machine(bf16=(2.0, 0))
    evaluate(machine, {"sst2": 300}, may_use_bf16=True)
    machine.formats.clear()
    session = evaluate(machine, {"sst2": 300}, models=("bert", "albert"), may_use_bf16=True)
    assert set(machine.formats) == {"bf16"}
    assert {record.settings["dtype"] for record in session.written} == {"bf16"}
    other = Machine(bf16=(2.0, 0))
    evaluate(other, {"rte": 300}, models=("bert",))
    other.formats.clear()
    session = evaluate(other, {"rte": 300}, may_use_bf16=True)
    assert set(other.formats) == {"fp32"}


def test_a_model_that_bf16_fails_on_is_evaluated_in_fp32(evaluate):
    """One that gives no answers in bf16 decides against it for all."""
    machine = Machine(bf16=(2.0, 0))
    whole = machine.answer

    def answer(work, progress):
        if work.dtype == "bf16" and work.source.spec.name == "bert":
            raise MeasurementError("not finite")
        return whole(work, progress)

    machine.answer = answer
    session = evaluate(machine, {"sst2": 300}, may_use_bf16=True)
    assert sizes(session) == {("bert", "sst2"): (300, False), ("distilbert", "sst2"): (300, False)}
    assert {record.settings["dtype"] for record in session.written} == {"fp32"}


def test_nothing_is_decided_where_nothing_was_tried(evaluate):
    """Without time for a trial the next session is free to try."""
    session = evaluate(Machine(bf16=(2.0, 0)), {"sst2": 5000}, minutes=5.0, may_use_bf16=True)
    assert "evaluation_dtype" not in session.record.decisions
    assert set(sizes(session).values()) == {(150, True)}


def test_cautions_of_a_whole_evaluation_stay_where_it_is_cut(evaluate):
    """What must be known of the model is known of a part of its answers, too."""
    machine = Machine()
    evaluate(machine, {"sst2": 700}, models=("bert",))
    session = evaluate(machine, {"sst2": 700}, models=("bert", "albert"), minutes=5.0)
    (bert,) = records_of(session, "bert")
    assert caution("new-pooler") in bert.cautions
    assert bert.settings["attention"] == "sdpa"
