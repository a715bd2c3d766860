"""`bertbench baseline save`: what `bertbench check` compares with later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring_options import takes_measuring_options
from bertbench.errors import CheckpointError, NothingMeasuredError, UsageError

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Checkpoint
    from bertbench.records.store import Store, StoredSession
    from bertbench.session.request import Request
    from bertbench.specs.suites import SuiteSpec

DEFAULT_PLACE = Path("results/baseline")

ActionArgument = Annotated[str, typer.Argument(help="save")]
PlaceOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="A folder, or a .json file: the baseline, with its predictions beside it."),
]
RoundsOption = Annotated[
    int | None, typer.Option("--rounds", min=2, help="Rounds of timing (default: 32).", show_default=False)
]
KeepOption = Annotated[
    float,
    typer.Option("--keep-mb", help="Keep checkpoints trained here with the baseline, up to so many MB each; 0: none."),
]


@takes_measuring_options(
    "models", "reference", "suite", "seed", "train_samples", "eval_samples", "epochs", "max_train_minutes", "max_minutes",
    "threads", "data_dir", "only", "fresh", "from_store", "config_dir", "results_dir",
)  # fmt: skip
def baseline(
    given: Mapping[str, Any],
    action: ActionArgument,
    output: PlaceOption = DEFAULT_PLACE,
    rounds: RoundsOption = None,
    keep_mb: KeepOption = 5.0,
) -> None:
    """Save what `check` compares with: counts, label maps, outputs, predictions, ratios; small enough to commit."""
    from bertbench.commands._display import say, show
    from bertbench.commands._measuring import Measuring, measure_or_read
    from bertbench.commands._measuring_options import defaults
    from bertbench.gate.saving import check_place
    from bertbench.session.request import check_positive

    if action != "save":
        raise UsageError(f"baseline {action}: there is only `bertbench baseline save`")
    if output.suffix and output.suffix != ".json":
        raise UsageError(f"--output {output}: must be a folder or end in .json")
    measuring = Measuring("baseline", {**defaults(), **given, "output": None, "yes": True, "seeds": "1"})
    if not 0 <= keep_mb < 1e6:
        raise UsageError(f"--keep-mb {keep_mb:g}: must be 0 or more")
    check_place(output)
    check_positive(threads=given["threads"], max_minutes=given["max_minutes"])
    suite = measuring.catalog.suite(given["suite"] or "base")
    request = _request(measuring, suite, rounds)
    stored = measure_or_read(request, measuring.store, from_store=given["from_store"], yes=True)
    place, found = _save(request, stored, measuring.store, output, keep_mb)
    say(f"saved in {place}; compare with it: bertbench check --baseline {output}")
    for line in summary(found):
        show(line)
    if any(lost.failed for lost in found.lost):
        raise typer.Exit(1)  # saved, but something that was asked for broke


def _request(measuring: Any, suite: SuiteSpec, rounds: int | None) -> Request:
    from bertbench.gate.ratios import BASELINE_ROUNDS, protocol

    given = measuring.given
    request: Request = measuring.request(
        suite, suite.tasks, models=given["models"], reference=given["reference"], run=False
    )
    # `enough` as in a check, though never: its workers, too, come from several fork servers.
    return replace(request, timing=protocol(request.timing, rounds or BASELINE_ROUNDS), enough=lambda _: False)


def _save(request: Request, stored: StoredSession, store: Store, output: Path, keep_mb: float) -> tuple[Path, Baseline]:
    from bertbench.gate.baseline import with_scores
    from bertbench.gate.collect import collected, evaluated, fingerprint
    from bertbench.gate.saving import write

    prints: dict[tuple[str, str], Checkpoint] = {}
    kept: dict[str, Path] = {}
    folders: dict[tuple[str, str], Path] = {}
    for place, record, folder in evaluated(stored, [spec.name for spec in request.models], store):
        name = _kept_name(place, folder, keep_mb) if record.finetuned_checkpoint else None
        if name:
            kept[name] = folders[place] = folder
        prints[place] = fingerprint(folder, place[0], str((record.task or {}).get("kind")), name)
    saved = collected(stored, request.models, request.reference, prints)
    if folders:
        again = collected(_evaluated(request, store, folders), request.models, request.reference, prints)
        saved = with_scores(saved, again, folders)
    if saved.baseline.is_empty:
        raise NothingMeasuredError("nothing was measured that could be a baseline", "see the warnings above")
    return write(saved, output, kept), saved.baseline


def _evaluated(request: Request, store: Store, folders: Mapping[tuple[str, str], Path]) -> StoredSession:
    """The kept checkpoints evaluated as `check` will evaluate them, from their files."""
    from bertbench.commands._measuring import measure_or_read
    from bertbench.gate.collect import spec_with
    from bertbench.session.request import names_of

    models = []
    for spec in request.models:
        own = {task: folder for (model, task), folder in folders.items() if model == spec.name}
        if own:
            models.append(spec_with(spec, own, names_of(request.tasks)))
    options = replace(request.options, fresh=True, keep_checkpoints="all")
    again = replace(request, models=tuple(models), kinds=("quality",), options=options)
    return measure_or_read(again, store, from_store=False, yes=True)


def _kept_name(place: tuple[str, str], folder: Path, keep_mb: float) -> str | None:
    """What the checkpoint of a model on a task is kept as; None where it is larger than `keep_mb` or no plain files, which is said."""
    from bertbench.commands._display import say
    from bertbench.models.checkpoints import files_to_keep
    from bertbench.session.steps import slug

    model, task = place
    try:
        size = sum(path.stat().st_size for path in files_to_keep(folder))
    except CheckpointError as error:
        say(f"warning: the checkpoint of {model} on {task} is not kept with the baseline: {error.message}")
        return None
    return slug(f"{model}-{task}") if size <= keep_mb * 1e6 else None


def summary(found: Baseline) -> list[str]:
    """Lines for people: what a baseline holds."""
    kept = sum(one.checkpoint is not None and one.checkpoint.kept is not None for one in found.scores)
    scores = [f"{one.model} {one.task} {100 * one.score:.2f}" for one in found.scores if one.score is not None]
    return [
        f"suite {found.suite}, reference {found.reference}, session {found.session_id}",
        f"models: {', '.join(found.models)}",
        f"counts: {sum(map(len, found.counts.values()))} of {len(found.counts)} models",
        f"scores: {len(scores)}, {kept} with the checkpoint kept; " + ", ".join(scores),
        f"times: {len(found.times)} ratios to {found.reference}",
        f"peak memory: {sum(map(len, found.peak_memory.values()))} readings",
        *(
            f"score undefined: {one.model} {one.task}: {one.undefined}; a check will find it inconclusive"
            for one in found.scores
            if one.score is None
        ),
        *(f"not measured: {one.model} {one.kind} {one.task or ''}: {one.reason}" for one in found.lost),
    ]
