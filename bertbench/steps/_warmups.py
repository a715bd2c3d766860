"""Warm-up counts are found out once a machine and kept, so that two runs do not differ in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bertbench.machines import Machine
from bertbench.records import digest
from bertbench.runners._blocks import SpeedTarget
from bertbench.specs import TimingSpec
from bertbench.steps._session import Session


def known(session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec) -> tuple[dict[str, int], list[str]]:
    """By target the untimed passes it needs on this machine, as far as that is known; and what could not be read."""
    machine = Machine.load(session.store.root, session.environment.environment_class)
    found = {target.name: machine.warmup(_key(target, timing)) for target in targets}
    return {name: passes for name, passes in found.items() if passes is not None}, list(machine.warnings)


def keep(session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec, found: Mapping[str, int]) -> None:
    """Store what a session found out."""
    if not found:
        return
    machine = Machine.load(session.store.root, session.environment.environment_class)
    for target in targets:
        if target.name in found:
            machine = machine.with_warmup(_key(target, timing), found[target.name])
    machine.save()


def _key(target: SpeedTarget, timing: TimingSpec) -> str:
    """What decides about it: architecture and sizes, back-end, format, threads and shape; not the weights' values."""
    settings = target.settings
    config = (target.folder / "config.json").read_bytes()
    shape = min(timing.shapes, key=lambda shape: shape.batch_size * (shape.sequence_length or 0))
    parts = [settings.device, settings.backend, settings.dtype, settings.attention, str(settings.threads), shape.label]
    return f"{'/'.join(parts)}/{digest(config.decode(errors='replace'))[:16]}"
