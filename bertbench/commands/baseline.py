"""`bertbench baseline save`: what `bertbench check` compares with later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from bertbench.commands._display import say, show
from bertbench.commands._options import MeasuringOptions, spread
from bertbench.commands._study import open_study
from bertbench.errors import CheckpointError, NothingMeasuredError, UsageError
from bertbench.gate.baseline import Baseline, Checkpoint, with_scores
from bertbench.gate.saving import check_place, write
from bertbench.models.checkpoints import files_to_keep
from bertbench.session.request import Request, check_positive, names_of

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.session.study import Study
    from bertbench.specs.suites import SuiteSpec

DEFAULT_FOLDER = Path("results/baseline")
Cell = tuple[str, str]  # model and task

ActionArgument = Annotated[str, Argument(help="What to do: save.")]
FolderOption = Annotated[
    Path,
    Option("--output", "-o", help="A folder, or a .json file: the baseline, with its predictions beside it."),
]
RoundsOption = Annotated[
    int | None, Option("--rounds", min=2, help="Rounds of timing (default: 32).", show_default=False)
]
KeepOption = Annotated[
    float,
    Option("--keep-mb", help="Largest checkpoint trained here that is kept with the baseline, in MB; 0: none."),
]


@spread(
    options=(
        "models", "reference", "suite", "seed", "train_samples", "eval_samples", "epochs", "max_train_minutes", "max_minutes",
        "threads", "data_dir", "allow_metric", "only", "fresh", "from_store", "config_dir", "results_dir",
    )
)  # fmt: skip
def baseline(
    action: ActionArgument,
    output: FolderOption = DEFAULT_FOLDER,
    rounds: RoundsOption = None,
    keep_mb: KeepOption = 5.0,
    *,
    options: MeasuringOptions,
) -> None:
    """Save what `check` compares with, small enough to commit.

    The baseline holds counts, label maps, outputs, predictions and ratios of times.

    Example: bertbench baseline save --suite demo --output baseline.json
    """
    if action != "save":
        raise UsageError(f"baseline {action}: there is only `bertbench baseline save`")
    if output.suffix and output.suffix != ".json":
        raise UsageError(f"--output {output}: must be a folder or end in .json")
    study = open_study("baseline", replace(options, yes=True, seeds="1"))  # a check compares one seed
    if not 0 <= keep_mb < 1e6:
        raise UsageError(f"--keep-mb {keep_mb:g}: must be 0 or more")
    check_place(output)
    check_positive(threads=options.threads, max_minutes=options.max_minutes)
    request = _request(study, study.suite(), rounds)
    path, saved = _save(request, study.measure_or_read(request), study, output, keep_mb)
    say(f"saved in {path}; to compare with it: bertbench check --baseline {output}")
    for line in summary(saved):
        show(line)
    if any(cell.failed for cell in saved.lost):
        raise Exit(1)  # saved, but something that was asked for broke


def _request(study: Study, suite: SuiteSpec, rounds: int | None) -> Request:
    from bertbench.gate.ratios import BASELINE_ROUNDS, protocol  # scipy

    chosen = study.options
    request = study.request(suite, suite.tasks, models=chosen.models, reference=chosen.reference, run=False)
    # `enough` as in a check, though never: its workers, too, come from several fork servers.
    return replace(request, timing=protocol(request.timing, rounds or BASELINE_ROUNDS), enough=lambda _: False)


def _save(request: Request, stored: StoredSession, study: Study, output: Path, keep_mb: float) -> tuple[Path, Baseline]:
    from bertbench.gate.collect import collected, evaluated, fingerprint  # scipy

    prints: dict[Cell, Checkpoint] = {}
    kept: dict[str, Path] = {}
    folders: dict[Cell, Path] = {}
    for cell, record, folder in evaluated(stored, [spec.name for spec in request.models], study.store):
        name = _kept_name(cell, folder, keep_mb) if record.finetuned_checkpoint else None
        if name:
            kept[name] = folders[cell] = folder
        prints[cell] = fingerprint(folder, cell[0], str((record.task or {}).get("kind")), name)
    saved = collected(stored, request.models, request.reference, prints)
    # Scored once more from their files, as a check will score them.
    if folders:
        again = collected(_evaluated(request, study, folders), request.models, request.reference, prints)
        saved = with_scores(saved, again, folders)
    if saved.baseline.is_empty:
        raise NothingMeasuredError("nothing was measured that could be a baseline", "see the warnings above")
    return write(saved, output, kept), saved.baseline


def _evaluated(request: Request, study: Study, folders: Mapping[Cell, Path]) -> StoredSession:
    """Evaluate the kept checkpoints as `check` will evaluate them, from their files."""
    from bertbench.gate.collect import spec_with  # scipy

    models = []
    for spec in request.models:
        checkpoints = {task: folder for (model, task), folder in folders.items() if model == spec.name}
        if checkpoints:
            models.append(spec_with(spec, checkpoints, names_of(request.tasks)))
    options = replace(request.options, fresh=True, keep_checkpoints="all")
    again = replace(request, models=tuple(models), kinds=("quality",), options=options)
    return replace(study, options=replace(study.options, from_store=False)).measure_or_read(again)


def _kept_name(cell: Cell, folder: Path, keep_mb: float) -> str | None:
    """Name the copy of a model's checkpoint on a task; None where it is too large or, which is said, no plain files."""
    from bertbench.session.steps import slug  # slow

    model, task = cell
    try:
        size = sum(path.stat().st_size for path in files_to_keep(folder))
    except CheckpointError as error:
        say(f"warning: the checkpoint of {model} on {task} is not kept with the baseline: {error.message}")
        return None
    return slug(f"{model}-{task}") if size <= keep_mb * 1e6 else None


def summary(saved: Baseline) -> list[str]:
    """Write lines for people on what a baseline holds."""
    kept = sum(score.checkpoint is not None and score.checkpoint.kept is not None for score in saved.scores)
    scores = [
        f"{score.model} {score.task} {100 * score.score:.2f}" for score in saved.scores if score.score is not None
    ]
    return [
        f"suite {saved.suite}, reference {saved.reference}, session {saved.session_id}",
        f"models: {', '.join(saved.models)}",
        f"counts: {sum(map(len, saved.counts.values()))} of {len(saved.counts)} models",
        f"scores: {len(scores)}, {kept} with the checkpoint kept; " + ", ".join(scores),
        f"times: {len(saved.times)} ratios to {saved.reference}",
        f"peak memory: {sum(map(len, saved.peak_memory.values()))} readings",
        *(
            f"score undefined: {score.model} {score.task}: {score.undefined}; a check of it will be inconclusive"
            for score in saved.scores
            if score.score is None
        ),
        *(f"not measured: {cell.model} {cell.kind} {cell.task or ''}: {cell.reason}" for cell in saved.lost),
    ]
