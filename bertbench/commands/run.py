"""`bertbench run`: evaluate or fine-tune models on a task, and time them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from bertbench.config import Catalog
    from bertbench.specs import SuiteSpec


def run(
    task: Annotated[
        str, typer.Option("--task", "-t", help="A task, or several separated by commas; see `bertbench list tasks`.")
    ],
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
    """Evaluate or fine-tune each model on a task, and time it."""
    from bertbench import output as out
    from bertbench.config import Catalog
    from bertbench.errors import UsageError
    from bertbench.request import Request
    from bertbench.selection import resolve
    from bertbench.store import Store

    out.check(output)
    catalog, store = Catalog(config_dir or ()), Store(results_dir)
    tasks = [catalog.task(name.strip()) for name in task.split(",") if name.strip()]
    if not tasks:
        raise UsageError("--task: no task is named", "see `bertbench list tasks`")
    chosen = catalog.suite(suite or suite_for(tasks[0].name, catalog))
    options = common.build_options(
        chosen.seeds, seeds=seeds, seed=seed, finetune=finetune, train_samples=train_samples, eval_samples=eval_samples, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, max_length=max_length, max_train_minutes=max_train_minutes,
        max_minutes=max_minutes, device=device, dtype=dtype, threads=threads, data_dir=data_dir,
        keep_checkpoints=keep_checkpoints, fresh=fresh, from_store=from_store,
    )  # fmt: skip
    if not from_store:
        store.check_writable()
    wanted = resolve(models, catalog, chosen, store)
    specs, name = common.pick_reference(wanted, chosen, reference, catalog, store, add_suites=False)
    request = Request(
        "run",
        common.arguments(),
        chosen,
        tuple(specs),
        name,
        tuple(tasks),
        options,
        may_be_random=False,
        timing=chosen.timing,
    )
    stored = common.measure_or_read(request, store, from_store=from_store, yes=yes)
    report = common.report_of(stored, specs, name)
    out.emit(report, format=output_format.value, output=output, layout=layout.value)
    raise typer.Exit(common.exit_code([stored], [spec.name for spec in specs]))


def suite_for(task: str, catalog: Catalog) -> str:
    """The default suite of a task: base, unless base does not list it and another suite does."""
    from bertbench.errors import ConfigError

    suites: dict[str, SuiteSpec] = {"base": catalog.suite("base")}
    if task in suites["base"].tasks:
        return "base"
    for name, entry in catalog.entries("suites").items():
        try:
            tasks = catalog.raw(entry).get("tasks")
        except ConfigError:
            continue  # a broken file matters only when its name is asked for
        if isinstance(tasks, list) and task in tasks:
            return name
    return "base"
