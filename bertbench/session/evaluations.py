"""Evaluating trained checkpoints, all of a task's models block by block, so that each has seen the same examples at any time.

After each block the records are written anew: whoever stops has what was done, and who comes back goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bertbench.errors import OutOfTimeError, first_line
from bertbench.quality.evaluate import Replies, TextLosses, score
from bertbench.quality.run import Evaluated, Outcome
from bertbench.quality.work import Work
from bertbench.records.cautions import FAILED_LATER, OF_DATA, Caution, caution
from bertbench.records.progress import Progress
from bertbench.records.record import Failure, RunRecord, digest
from bertbench.records.stored import StoredSession
from bertbench.session import number_format
from bertbench.session.cells import Cell, by_task
from bertbench.session.forecast import Sample, next_step
from bertbench.session.number_format import Trial
from bertbench.session.quality import quality_key, task_fields, write_quality
from bertbench.session.request import OUT_OF_TIME
from bertbench.session.steps import Session, guarded
from bertbench.specs import plugins
from bertbench.tasks.examples import Examples, SampleOrder
from bertbench.units import duration

if TYPE_CHECKING:
    from bertbench.specs.tasks import TaskSpec

Answer = Callable[[Work, Progress], Evaluated]

GRACE = 1.05  # of the time limit: a block that takes longer than forecast is stopped here
# Cautions on the examples themselves, which are made anew for a larger sample.
OF_A_SAMPLE = frozenset(
    {"cut-questions", "cut-examples", "unreadable-words", "windows", "taken-over", OF_DATA, FAILED_LATER}
)


@dataclass
class Member:
    """One model's part in the evaluation of a task: what it has answered so far, in the order of samples."""

    cell: Cell
    work: Work
    key: str
    expected_s: float  # for one example
    answers: list[Replies] = field(default_factory=list)  # a split each
    warnings: list[Caution] = field(default_factory=list)
    attention: str | None = None
    seconds: float = 0.0
    took_over: str | None = None
    finished: tuple[StoredSession, RunRecord] | None = None
    run_id: str | None = None  # of the record that was written of it
    failure: Failure | None = None

    @property
    def sample_key(self) -> str:
        """What an evaluation of a part of the examples is found by."""
        return digest(["a sample of", self.key])

    def count(self, split: int) -> int:
        """How many examples of a split are answered."""
        return len(self.answers[split].columns["example_id"]) if self.answers else 0


@dataclass
class TaskEvaluation:
    """The models of a task that are evaluated as they are, and the order in which its examples come."""

    task: TaskSpec
    members: list[Member]
    splits: tuple[Examples, ...]
    sample: Sample
    written: int = 0

    @property
    def alive(self) -> list[Member]:
        """Those that did not fail."""
        return [member for member in self.members if member.failure is None]


def measure_evaluations(session: Session, cells: Sequence[Cell], answer: Answer) -> None:
    """Evaluate cells as far as time goes, and store a record of each.

    Args:
        session: that they are of.
        cells: of evaluation alone, with work.
        answer: `bertbench.quality.run.answer_part`, here or in a process of its own.
    """
    groups = _groups_in_format(session, cells, answer)
    for group in groups:
        _write_group(session, group)
    samples = {id(group.sample): group for group in groups}
    while True:
        left = None if session.deadline is None else session.deadline - session.instruments.monotonic()
        session.watch.expect(min(session.left_s(), sum(group.sample.cost(group.sample.total) for group in groups)))
        step = next_step([group.sample for group in groups], left)
        if step is None:
            break
        sample, count = step
        group = samples[id(sample)]
        if _advance(session, group, count, answer):
            sample.done = count
            _write_group(session, group)
        else:
            sample.state = "ended"
            _write_group(session, group)
    for group in groups:
        _finish(session, group)


# The number format: of what is gone on from, or tried on the first blocks, of which those of one format are kept.


def _groups_in_format(session: Session, cells: Sequence[Cell], answer: Answer) -> list[TaskEvaluation]:
    """Return the tasks' evaluations in the number format of this session: that of what is gone on from, or one that is tried."""

    def groups_in(dtype: str) -> list[TaskEvaluation]:
        return [_group(session, of_task, dtype) for of_task in by_task(cells).values()]

    groups = groups_in(number_format.decided(session))
    remaining = min(session.left_s(), sum(group.sample.cost(group.sample.total) for group in groups))
    if _has_begun(groups) or not number_format.is_open(session, remaining):
        return groups
    before = groups_in("bf16")
    if _has_begun(before):
        return before
    return _decide_format(session, groups, before, answer)


def _has_begun(groups: Sequence[TaskEvaluation]) -> bool:
    return any(member.answers for group in groups for member in group.members)


def _decide_format(
    session: Session, groups: list[TaskEvaluation], in_bf16: list[TaskEvaluation], answer: Answer
) -> list[TaskEvaluation]:
    """Try bf16 on the first block of every task, cheapest first, until it fails or all are done in it."""
    trial, tried = Trial(), 0
    for group, other in sorted(zip(groups, in_bf16, strict=True), key=lambda pair: pair[0].sample.seconds):
        count = group.sample.next_block()
        if 2 * group.sample.cost(count) > session.left_s():
            break
        in_turn = [member for pair in zip(group.members, other.members, strict=True) for member in pair]
        both = TaskEvaluation(group.task, in_turn, group.splits, replace(group.sample))
        if not _advance(session, both, count, answer):
            break
        for member, twin in zip(group.members, other.members, strict=True):
            if member.failure is None:
                trial.add(member.work, member.answers, twin.answers)
        for each in (group, other):
            each.sample.done, each.sample.seconds = count, sum(member.expected_s for member in each.alive)
        tried += 1
        if not (trial.agrees and trial.is_faster):
            break
    is_refused = tried and not (trial.agrees and trial.is_faster)
    if tried < len(groups) and not is_refused:  # time ran out: fp32 now, and nothing is decided for those who go on
        return groups
    return in_bf16 if number_format.decide(session, trial) == "bf16" else groups


# What earlier sessions have done.


def _group(session: Session, cells: list[Cell], dtype: str) -> TaskEvaluation:
    members = [_member(session, cell, dtype) for cell in cells]
    first = members[0].work
    sample = Sample.of(first, sum(member.expected_s for member in members))
    group = TaskEvaluation(first.task, members, first.splits, sample)
    for member in members:
        _take_over(session, group, member)
    counts = [min(member.count(split) for member in members) for split in range(len(first.splits))]
    sample.done = max(counts)
    return group


def _member(session: Session, cell: Cell, dtype: str) -> Member:
    assert cell.work is not None  # noqa: S101 (callers have filtered)
    work = replace(cell.work, dtype=dtype)
    cell = replace(cell, work=work, encoder=replace(cell.encoder, source=work.source))
    return Member(cell, work, quality_key(cell, session.settings), cell.per_example_s)


def _take_over(session: Session, group: TaskEvaluation, member: Member) -> None:
    """Look for an evaluation of all examples, else for the largest of a part of them, which is gone on from."""
    if session.request.options.fresh:
        return
    whole = session.store.find_quality(member.key)
    parts = [] if whole else list(session.store.qualities(member.sample_key))
    earlier = whole or max(parts, key=lambda pair: _size(pair[1]), default=None)
    if earlier is None:
        return
    try:
        answers = _answers(group, *earlier)
    except (KeyError, TypeError, ValueError) as error:  # a stranger's record may hold anything
        session.say(f"{member.work.label}: cannot continue from run {earlier[1].run_id} ({first_line(error)})")
        return
    if answers is None:
        return
    orders = zip(answers, group.sample.orders, group.splits, strict=True)
    if not all(_is_prefix(given, order, split) for given, order, split in orders):
        return
    record = earlier[1]
    member.finished, member.answers, member.took_over = whole, answers, record.run_id
    member.attention = record.settings.get("attention")
    member.warnings = [item for item in record.cautions if item.kind not in OF_A_SAMPLE]


def _size(record: RunRecord) -> int:
    """Tell on how many examples a score is."""
    return max((measurement.n or 0 for measurement in record.measurements), default=0)


def _answers(group: TaskEvaluation, stored: StoredSession, record: RunRecord) -> list[Replies] | None:
    """Read a record's predictions, those of each split in the order of samples; None if it has none."""
    frame = stored.sidecar(record, "predictions")
    if frame is None:
        return None
    losses = [TextLosses(**values) for values in record.settings.get("losses", ())]
    answers = []
    for number, (order, split) in enumerate(zip(group.sample.orders, group.splits, strict=True)):
        of_split = frame[frame["split"] == split.split]
        columns = {str(name): of_split[name].tolist() for name in frame.columns}
        columns["scores"] = [list(values) for values in columns["scores"]]
        rank = {split.ids[index]: position for position, index in enumerate(order.places)}
        known = losses[number] if number < len(losses) else None
        places = sorted(range(len(of_split)), key=lambda row: rank.get(columns["example_id"][row], len(rank)))
        answers.append(Replies(columns, None, known).at(places))
    return answers


def _is_prefix(answers: Replies, order: SampleOrder, split: Examples) -> bool:
    """Tell whether the answers are to the first examples in the order of samples."""
    given = answers.columns["example_id"]
    return given == [split.ids[index] for index in order.places[: len(given)]]


# Advancing, all models of a task by the same examples.


def _advance(session: Session, group: TaskEvaluation, count: int, answer: Answer) -> bool:
    """Let every model answer up to `count` examples of each split; False if time ran out, or none is left."""
    per_example = 0.0
    for member in group.alive:
        parts = []
        for number, (order, split) in enumerate(zip(group.sample.orders, group.splits, strict=True)):
            start, end = member.count(number), order.at_least(count)
            parts.append(split.at(order.places[start:end]))
        new = sum(len(part) for part in parts)
        if new == 0:
            per_example += member.expected_s
            continue
        work = replace(member.work, splits=tuple(part for part in parts if len(part)), deadline=_limit(session))
        session.watch.begin([member.cell.encoder.spec.name], member.cell.task.name)
        started = session.instruments.monotonic()
        part, failure, _ = guarded(partial(answer, work, session.progress))
        seconds = session.instruments.monotonic() - started
        member.seconds += seconds
        if failure is not None:
            if failure.kind != OutOfTimeError.__name__:
                session.say(f"{member.work.label}: failed: {failure.message}")
            if failure.kind == OutOfTimeError.__name__:
                return False
            if member.answers:  # what all have done so far stands, and says why it is no more
                member.warnings.append(caution(FAILED_LATER, reason=failure.message))
                group.written = 0
                return False
            member.failure = failure
            continue
        assert part is not None  # noqa: S101 (there is a result or a failure)
        _add(member, part, [len(part) > 0 for part in parts])
        member.expected_s = seconds / new
        per_example += member.expected_s
    group.sample.seconds = per_example
    return bool(group.alive)


def _limit(session: Session) -> float | None:
    """When a block is stopped although it is not done, of `time.monotonic`."""
    if session.deadline is None:
        return None
    return session.request.started + GRACE * (session.deadline - session.request.started)


def _add(member: Member, part: Evaluated, has_more: Sequence[bool]) -> None:
    new = iter(part.answers)
    if not member.answers:
        member.answers = list(part.answers)
    else:
        member.answers = [old + next(new) if more else old for old, more in zip(member.answers, has_more, strict=True)]
    member.attention = part.attention
    member.warnings = list(dict.fromkeys([*member.warnings, *part.warnings]))


# Records: of the examples that all models have seen.


def _write_group(session: Session, group: TaskEvaluation) -> None:
    """Write each model's record on the examples that all have answered, if these are more than when it was last written."""
    counts = [min((member.count(number) for member in group.alive), default=0) for number in range(len(group.splits))]
    if not min(counts, default=0) or sum(counts) == group.written:
        return
    group.written = sum(counts)
    whole = all(count == len(split) for count, split in zip(counts, group.splits, strict=True))
    for member in group.alive:
        if whole and member.finished is not None:
            _adopt(session, member)
        else:
            member.run_id = _write(session, group, member, counts, whole=whole)


def _adopt(session: Session, member: Member) -> None:
    assert member.finished is not None  # noqa: S101 (callers have looked)
    stored, record = member.finished
    session.discard(member.run_id)
    session.say(f"{member.work.label}: taken from run {record.run_id}; --fresh measures again")
    session.take_over(stored, record, member.cell.encoder)


def _write(session: Session, group: TaskEvaluation, member: Member, counts: Sequence[int], *, whole: bool) -> str:
    """Write the record of one model: in the order of the splits, as if only these examples were there. Returns its run id."""
    splits, answers = [], []
    for order, split, given, count in zip(group.sample.orders, group.splits, member.answers, counts, strict=True):
        taken = sorted(range(count), key=lambda position: order.places[position])
        splits.append(split.at([order.places[position] for position in taken]))
        # The time of answers that are left out is known only together with that of the others.
        seconds = given.seconds if count == len(given.columns["example_id"]) else None
        answers.append(replace(given.at(taken), seconds=seconds))
    work = replace(member.work, splits=tuple(splits))
    answers = [_with_losses(work, split, given) for split, given in zip(splits, answers, strict=True)]
    scored, failure, _ = guarded(lambda: score(work.task, work.splits, answers, work.recipe.max_length))
    outcome = None
    if scored is not None:
        warnings = [*member.warnings, *scored.warnings]
        if member.took_over:
            warnings.append(caution("taken-over", run=member.took_over))
        outcome = Outcome(
            tuple(scored.measurements),
            scored.predictions,
            warnings,
            tuple(scored.undefined),
            attention=member.attention,
            losses=[asdict(given.losses) for given in answers if given.losses],
        )
    key = member.key if whole else member.sample_key
    cell = replace(member.cell, work=work)
    return write_quality(session, cell, key, (outcome, failure, member.seconds), is_sample=not whole)


def _with_losses(work: Work, split: Examples, given: Replies) -> Replies:
    """Return the answers with what was lost of just these examples: counted anew where more were answered."""
    if given.losses is not None and given.losses.examples == len(split):
        return given
    from bertbench.models.architecture import config_of
    from bertbench.models.loading import load_tokenizer
    from bertbench.quality import features

    kind = plugins.load("bertbench.tasks.kinds", "task kind", work.task.kind)
    config = config_of(work.source.spec, work.source.folder)
    tokenizer = load_tokenizer(work.source.tokenizer, config, work.source.spec.name, split_words=kind.words)
    encoded = features.of(kind, tokenizer, work.task, split, work.recipe.max_length, config)
    return replace(given, losses=TextLosses.of(encoded, len(split)))


def _finish(session: Session, group: TaskEvaluation) -> None:
    """Store what there is of each model where there is nothing of all, and why there is nothing of others."""
    for member in group.members:
        if member.failure is not None:
            write_quality(session, member.cell, member.key, (None, member.failure, member.seconds))
        elif group.written:
            continue
        elif member.finished is not None:
            _adopt(session, member)
        elif member.answers:
            counts = [member.count(number) for number in range(len(group.splits))]
            _write(session, group, member, counts, whole=False)
        else:
            session.late.append(group.task.name)
            needed = duration(group.sample.cost(group.sample.next_block()))
            late = Failure(OUT_OF_TIME, f"its first block needs about {needed} for all models", "give more time")
            session.write("quality", member.cell.encoder, "skipped", error=late, **task_fields(member.cell))
