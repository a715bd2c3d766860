"""`bertbench compare`: the table of BERT, DistilBERT and ALBERT, or of any other models."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bertbench.commands import _measuring as common
from bertbench.commands._options import (
    ConfigDirOption,
    Format,
    FormatOption,
    Layout,
    LayoutOption,
    ModelsOption,
    OutputOption,
    ResultsDirOption,
)

if TYPE_CHECKING:
    from typing import Any

    from bertbench.config import Catalog
    from bertbench.report import Report
    from bertbench.specs import SuiteSpec
    from bertbench.store import Store, StoredSession


def compare(
    models: ModelsOption = "all",
    reference: common.ReferenceOption = None,
    suite: common.SuiteOption = None,
    output_format: FormatOption = Format.TERMINAL,
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
    seeds: common.SeedsOption = None,
    seed: common.SeedOption = None,
    finetune: common.FinetuneOption = False,
    train_samples: common.TrainSamplesOption = None,
    eval_samples: common.EvalSamplesOption = None,
    epochs: common.EpochsOption = None,
    batch_size: common.BatchSizeOption = None,
    learning_rate: common.LearningRateOption = None,
    max_length: common.MaxLengthOption = None,
    max_train_minutes: common.MaxTrainMinutesOption = None,
    max_minutes: common.MaxMinutesOption = None,
    device: common.DeviceOption = "auto",
    dtype: common.DtypeOption = "fp32",
    threads: common.ThreadsOption = None,
    data_dir: common.DataDirOption = None,
    keep_checkpoints: common.KeepOption = "all",
    fresh: common.FreshOption = False,
    from_store: common.FromStoreOption = False,
    yes: common.YesOption = False,
    config_dir: ConfigDirOption = None,
    results_dir: ResultsDirOption = Path("results"),
) -> None:
    """Compare models in size, speed, memory and quality, beside what was published."""
    from bertbench import output as out
    from bertbench.config import Catalog
    from bertbench.report import Report
    from bertbench.store import Store

    out.check(output)
    catalog, store = Catalog(config_dir or ()), Store(results_dir)
    chosen = catalog.suite(suite or "base")
    given: dict[str, Any] = {
        "seeds": seeds, "seed": seed, "finetune": finetune, "train_samples": train_samples, "eval_samples": eval_samples, "epochs": epochs,
        "batch_size": batch_size, "learning_rate": learning_rate, "max_length": max_length, "max_train_minutes": max_train_minutes,
        "max_minutes": max_minutes, "device": device, "dtype": dtype, "threads": threads, "data_dir": data_dir,
        "keep_checkpoints": keep_checkpoints, "fresh": fresh, "from_store": from_store,
    }  # fmt: skip
    answer = _Answer(catalog, store, given, from_store=from_store, yes=yes)
    reports, sessions, names = answer.suite(chosen, models, reference)
    if chosen.fallback and _quality_is_absent(sessions[0], names):
        more, shown = answer.fallback(catalog.suite(chosen.fallback))
        reports, sessions = [*reports, *more], [*sessions, *shown]
    out.emit(Report.joined(reports), format=output_format.value, output=output, layout=layout.value)
    raise typer.Exit(common.exit_code(sessions))


class _Answer:
    """Measures or reads one suite after the other with the same options."""

    def __init__(self, catalog: Catalog, store: Store, given: dict[str, Any], *, from_store: bool, yes: bool) -> None:
        self._catalog = catalog
        self._store = store
        self._given = given
        self._from_store = from_store
        self._yes = yes
        self._started = time.monotonic()

    def fallback(self, suite: SuiteSpec) -> tuple[list[Report], list[StoredSession]]:
        """The fallback suite with its own recipe, in what time is left; its failure never costs the first report."""
        from bertbench.display import say
        from bertbench.errors import BertBenchError, MeasurementError

        self._given |= dict.fromkeys(("learning_rate", "batch_size", "max_length", "data_dir")) | {"finetune": False}
        if self._given["max_minutes"] is not None:
            self._given["max_minutes"] -= (time.monotonic() - self._started) / 60
        try:
            if self._given["max_minutes"] is not None and self._given["max_minutes"] <= 0:
                raise MeasurementError("--max-minutes is used up")
            reports, sessions, _ = self.suite(suite, "all", None)
        except BertBenchError as error:
            say(f"suite {suite.name} is left out: {error}")
            return [], []
        return reports, sessions

    def suite(
        self, suite: SuiteSpec, models: str, reference: str | None
    ) -> tuple[list[Report], list[StoredSession], list[str]]:
        """The report and session of one suite, and the names of the models in it."""
        from bertbench.request import Request
        from bertbench.selection import resolve

        options = common.build_options(suite.seeds, **self._given)
        if not self._from_store:
            self._store.check_writable()
        wanted = resolve(models, self._catalog, suite, self._store)
        specs, name = common.pick_reference(wanted, suite, reference, self._catalog, self._store, add_suites=True)
        tasks = tuple(self._catalog.task(task) for task in suite.tasks)
        request = Request(
            "compare",
            common.arguments(),
            suite,
            tuple(specs),
            name,
            tasks,
            options,
            may_be_random=True,
            timing=suite.timing,
        )
        stored = common.measure_or_read(request, self._store, from_store=self._from_store, yes=self._yes)
        return [common.report_of(stored, specs, name)], [stored], [spec.name for spec in specs]


def _quality_is_absent(stored: StoredSession, models: list[str]) -> bool:
    """True if not one of the models has a score, because data or weights could not be had."""
    from bertbench.records import UNAVAILABLE

    quality = [record for record in stored.records if record.kind == "quality" and record.model_name in models]
    return bool(quality) and all(record.error is not None and record.error.kind == UNAVAILABLE for record in quality)
