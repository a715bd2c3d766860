"""Specs of executors: on what the cells of a grid are measured, and what each of them needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from bertbench.specs.base import Positive, PositiveFloat, Spec
from bertbench.specs.yaml_files import describe, read_yaml

if TYPE_CHECKING:
    from typing import Any


class ExecutorSpec(Spec):
    """What does the cells, and what one cell of quality needs.

    `engine`: in-process (one after another), local (processes on this machine), ray (a cluster). `workers` bounds how many
    cells are done at a time; None: as many as there is room for. `cpus`, `gpus` and `memory_gb` are those of one cell, and
    its number of threads is `cpus`. `retries`: how often a cell is begun again whose worker was lost; one that takes more than
    `minutes` is lost, too (None: it is waited for).
    """

    name: str = "executor"
    engine: str
    address: str | None = None
    workers: Positive | None = None
    cpus: Positive = 1
    gpus: float = Field(default=0.0, ge=0, le=64, allow_inf_nan=False)
    memory_gb: PositiveFloat | None = None
    minutes: PositiveFloat | None = None
    retries: int = Field(default=2, ge=0, le=100)

    def refuse(self, *keys: str) -> None:
        """Refuse keys that an engine cannot keep.

        Raises:
            UsageError: one of them has another value than its default.
        """
        from bertbench.errors import UsageError

        for key in keys:
            if getattr(self, key) != type(self).model_fields[key].default:
                option = "--ray-address" if key == "address" else f"key '{key}'"
                raise UsageError(
                    f"executor {self.name}: engine {self.engine} cannot keep {option}",
                    "leave it out, or name engine ray",
                )

    def check_device(self, device: str) -> None:
        """Refuse a device that a Ray cluster, which gives each cell what is asked for here, would not use.

        Raises:
            UsageError: they contradict each other.
        """
        from bertbench.errors import UsageError

        given = "cuda" if self.gpus else "cpu"
        if self.engine == "ray" and device not in {"auto", given}:
            raise UsageError(
                f"--device {device}: executor {self.name} asks for {self.gpus:g} GPUs a cell, which is device {given}",
                "leave --device out, or set the executor's key 'gpus'",
            )


def read_executor(text: str, **changes: Any) -> ExecutorSpec:
    """Read what `--executor` names: a YAML file, or an engine by its name; `changes` come from options, None for none.

    Raises:
        ConfigError: the file cannot be read.
    """
    from bertbench.errors import ConfigError

    chosen = {name: value for name, value in changes.items() if value is not None}
    path = Path(text)
    if path.suffix not in {".yaml", ".yml"}:
        return ExecutorSpec(name=text, engine=text, **chosen)
    if not path.is_file():
        raise ConfigError(f"executor {text}: no such file", "name a file, or in-process, local or ray")
    try:
        return ExecutorSpec(**(read_yaml(path, path.stem) | chosen))
    except ValidationError as error:
        raise ConfigError(
            f"{path}: {describe(error, path)}",
            "keys: engine, address, workers, cpus, gpus, memory_gb, minutes, retries",
        ) from None


def device_here(executor: str | None, device: str) -> str:
    """Return the device that a command looks for on its own machine; with Ray the executor says what each cell gets elsewhere.

    Raises:
        ConfigError: the executor's file cannot be read.
        UsageError: the executor gives another device than `device` names.
    """
    if executor is None:
        return device
    spec = read_executor(executor)
    spec.check_device(device)
    return "cpu" if spec.engine == "ray" else device
