"""One command's measuring, from request to stored records: size, speed, memory, then quality, each stored when done.

Whatever happens to one cell is a record of that cell; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from bertbench import processes
from bertbench.models import hub
from bertbench.models.sources import Encoder, Say, gather, weight_folders
from bertbench.quality import run, team, trainer
from bertbench.quality.apart import Apart, InPlace
from bertbench.records.files import now
from bertbench.records.progress import Progress, SessionWatch, Unwatched
from bertbench.records.record import UNAVAILABLE, Environment, RunRecord, SessionRecord
from bertbench.records.store import Store, newest
from bertbench.records.stored import StoredSession
from bertbench.session.cells import Cell, Plan
from bertbench.session.cost import measure_cost
from bertbench.session.evaluations import measure_evaluations
from bertbench.session.plan import is_sampled, make
from bertbench.session.quality import drop_checkpoints, measure_quality, quality_key
from bertbench.session.request import (
    OUT_OF_TIME,
    Request,
    answers,
    check_many,
    check_processes,
    no_texts,
    no_tokenizer,
)
from bertbench.session.steps import Instruments, Session, session_of
from bertbench.speed.workers import begin
from bertbench.tasks.data import source_fingerprint
from bertbench.units import duration

CUT_SHORT = frozenset({"time-limit", "time-limit-early"})  # what timing says that its time limit ended


def find(
    request: Request, store: Store, encoders: Sequence[Encoder], *, instruments: Instruments | None = None
) -> StoredSession | None:
    """Find the newest complete session without failures that holds all that is asked; None if there is none."""
    instruments = instruments or Instruments()
    wanted = _canonical(request, encoders, instruments.capture(request.options.device))

    def accept(stored: StoredSession) -> bool:
        absent = any(record.kind == "quality" and record.status == "skipped" for record in stored.records)
        # What could not be had then may be there now; and `run` must not be content with its absence.
        retry = absent and (not request.may_be_random or instruments.hub_state() == "online")
        settled = (_settled(record, stored.session, request) for record in stored.records)
        return not retry and all(settled)

    return newest(store, accept, lambda session: session.complete and answers(session.request, wanted))


def _settled(record: RunRecord, session: SessionRecord, request: Request) -> bool:
    """Tell whether a record is final, which a failed run is not, nor one that there was less time for than there is now."""
    had, has = session.decisions.get("max_minutes"), request.options.max_minutes
    as_much_time = had is not None and has is not None and has <= had
    if record.error is not None:
        return record.error.kind == UNAVAILABLE or (record.error.kind == OUT_OF_TIME and as_much_time)
    if record.status != "ok":
        return False
    if record.settings.get("is_sample"):
        return as_much_time
    was_limited = record.capped or any(caution.kind in CUT_SHORT for caution in record.cautions)
    return as_much_time or had is None or not was_limited


def _canonical(request: Request, encoders: Sequence[Encoder], machine: Environment) -> dict[str, Any]:
    digests = {encoder.spec.name: encoder.source.identity for encoder in encoders}
    fingerprints = {task.name: source_fingerprint(task, request.options.data_dir) for task in request.tasks}
    return request.canonical(digests, fingerprints, machine.environment_class)


def find_weights(request: Request, say: Say) -> list[Encoder]:
    """Find the models' weights, and say once if the hub cannot be reached."""
    encoders = gather(request.models, may_be_random=request.may_be_random)
    absent = [encoder.spec.name for encoder in encoders if encoder.absent]
    if absent:
        why = "HF_HUB_OFFLINE is set" if hub.state() == "offline" else f"the hub at {hub.endpoint()} cannot be reached"
        say(
            f"{why} and nothing is cached: {', '.join(absent)} are measured in size and speed on random weights, not in quality"
        )
    return encoders


def measure(
    request: Request,
    store: Store,
    encoders: Sequence[Encoder],
    *,
    say: Say,
    progress: Progress,
    yes: bool,
    watch: SessionWatch | None = None,
    instruments: Instruments | None = None,
    apart: bool = True,
    make_plan: Callable[..., Plan] = make,
    measure_costs: Callable[[Session, Sequence[Encoder], Plan], None] = measure_cost,
) -> StoredSession:
    """Measure all that is asked and store it.

    Args:
        request: what to measure.
        store: where to.
        encoders: the models with their weights, from `find_weights`.
        say: takes one line for people.
        progress: takes how far a step is.
        yes: more than ten runs are meant.
        watch: takes how the grid of models and tasks is filled, and how long that takes.
        instruments: what is asked of the machine and the hub.
        apart: quality is measured in a process of its own, which may die without this one.
        make_plan: decides what is done.
        measure_costs: measures size, speed and memory.

    Raises:
        BertBenchError: the input cannot be used; found before any measuring.
        KeyboardInterrupt: what was finished is stored.
    """
    check_processes(request)
    instruments = instruments or Instruments()
    machine = instruments.capture(request.options.device)
    canonical = _canonical(request, encoders, machine)
    if "speed" in request.kinds:
        begin(encoder.spec.architecture for encoder in encoders)
    plan = plan_of(request, store, encoders, say=say, instruments=instruments, make_plan=make_plan)
    check_many(sum(cell.work is not None for cell in plan.cells), yes=yes)
    _preflight(request, encoders, plan)
    store.check_writable(needed_bytes=_bytes_needed(request, encoders, plan))
    store.tidy()
    for line in plan.lines():
        say(line)
    record = session_of(
        request,
        canonical,
        store.new_session_id(),
        decisions=plan.decisions,
        environment_class=machine.environment_class,
    )
    session = Session(request, store, say, progress, machine, record, request.deadline, instruments=instruments)
    taught = (cell.teacher for cell in plan.cells if cell.teacher and cell.teacher.work)
    session.teachers = frozenset(quality_key(teacher, session.settings) for teacher in taught)
    session.watch = watch or Unwatched()
    session.watch.outline([encoder.spec.name for encoder in encoders], _columns(request))
    session.watch.expect(_at_most(plan.expected_s, session))
    store.write_session(record)
    try:
        with weight_folders(encoders, store.folder(session.id)) as ready:
            measure_costs(session, ready, plan)
        _measure_qualities(session, plan, _doer(apart=apart))
    finally:
        if session.request.options.keep_checkpoints != "all":
            drop_checkpoints(session)
    if session.late:
        what = ", ".join(dict.fromkeys(session.late))
        say(f"no time within {duration(session.request.time_limit_s or 0.0)} for {what}; give more with --max-minutes")
    ended = replace(session.record, complete=True, ended_at=now())
    store.write_session(ended)
    return store.stored(ended, session.written)


def _doer(*, apart: bool) -> team.Team | Apart | InPlace:
    """Choose who does quality runs: the team of torchrun, a process of its own, or this one."""
    if processes.world_size() > 1:
        return team.Team()
    return Apart() if apart else InPlace()


def _measure_qualities(session: Session, plan: Plan, doer: team.Team | Apart | InPlace) -> None:
    """Train and evaluate cell by cell, then evaluate the trained checkpoints as far as time goes."""
    with closing(doer) as apart:
        sampled = [cell for cell in plan.cells if is_sampled(session.request, cell)]
        rest_s = sum(step.seconds for step in plan.steps if step.kind == "quality")
        for cell in plan.cells:
            if cell not in sampled:
                session.watch.expect(_at_most(rest_s, session))
                measure_quality(session, cell, apart.run)
                rest_s -= cell.expected_s
        measure_evaluations(session, sampled, apart.answer)


def _columns(request: Request) -> list[str]:
    """Name what is measured of a model: kinds, and tasks in the place of quality."""
    kinds = [kind for kind in ("size", "speed", "memory") if kind in request.kinds]
    return [*kinds, *(task.name for task in request.tasks if "quality" in request.kinds)]


def _at_most(seconds: float, session: Session) -> float:
    return min(seconds, session.left_s())


def plan_of(
    request: Request,
    store: Store,
    encoders: Sequence[Encoder],
    *,
    say: Say,
    instruments: Instruments | None = None,
    make_plan: Callable[..., Plan] = make,
) -> Plan:
    """Decide what is done, going by what an equal request decided before.

    Raises:
        BertBenchError: the input cannot be used.
    """
    instruments = instruments or Instruments()
    machine = instruments.capture(request.options.device)
    earlier = _earlier_decisions(store, _canonical(request, encoders, machine))

    def is_done(cell: Cell) -> bool:
        key = quality_key(cell, {"device": request.options.device})
        return not request.options.fresh and store.find_quality(key) is not None

    training_format = _training_format(request, store, machine, say)
    return make_plan(request, encoders, say, earlier, training_format, instruments, is_done)


def _training_format(request: Request, store: Store, machine: Environment, say: Say) -> Callable[[], str]:
    """Return a function that decides, when called, what number format models are trained in."""
    options = request.options
    if request.part is not None:  # what another machine decides for the other parts is not known here
        return lambda: "fp32"
    return partial(
        trainer.decide_training_format, store.root, machine.environment_class, options.device, options.threads, say
    )


def _earlier_decisions(store: Store, canonical: dict[str, Any]) -> dict[str, Any]:
    """Read what an equal request decided before, so that finished cells of an interrupted one are recognized."""
    earlier = newest(
        store, lambda _: True, lambda session: answers(session.request, canonical) and bool(session.decisions)
    )
    return earlier.session.decisions if earlier else {}


def _bytes_needed(request: Request, encoders: Sequence[Encoder], plan: Plan) -> int:
    """Estimate the disk space for random weights while they are measured, and for fine-tuned checkpoints."""
    from bertbench.models.architecture import config_of, empty_model

    sizes = {}
    for encoder in encoders:
        module = empty_model(config_of(encoder.spec, encoder.source.folder))
        sizes[encoder.spec.name] = sum(4 * parameter.numel() for parameter in module.parameters())
    random = sum(sizes[encoder.spec.name] for encoder in encoders if encoder.source.folder is None)
    trained = [cell for cell in plan.cells if cell.work and cell.work.mode == "fine-tune"]
    kept = sum(sizes[cell.encoder.spec.name] for cell in trained) if request.options.keep_checkpoints != "none" else 0
    return int(random + kept)


def _preflight(request: Request, encoders: Sequence[Encoder], plan: Plan) -> None:
    """Look for real texts where only they are timed, and load each model once for each task, before any work.

    Raises:
        BertBenchError: bad input.
    """
    if request.needs_texts:
        _check_texts(encoders, plan)
    seen = set()
    for cell in plan.cells:
        if cell.work and (cell.encoder.spec.name, cell.task.name) not in seen:
            seen.add((cell.encoder.spec.name, cell.task.name))
            run.prepare(cell.work)


def _check_texts(encoders: Sequence[Encoder], plan: Plan) -> None:
    for data in plan.data.values():
        if not data.splits:
            raise no_texts(data.task.name, data.absent)
    for encoder in encoders:
        if not encoder.source.tokenizer:
            raise no_tokenizer(encoder.spec.name, encoder.absent)
