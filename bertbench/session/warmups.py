"""Warm-up counts are found out once a machine and kept, so that two runs do not differ in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bertbench.records.machines import Machine
from bertbench.records.record import digest
from bertbench.session.run import Session
from bertbench.specs.timing import TimingSpec
from bertbench.speed.blocks import SpeedTarget


def known(session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec) -> tuple[dict[str, int], list[str]]:
    """By target the untimed passes it needs on this machine, as far as that is known; and what could not be read."""
    machine = Machine.load(session.store.root, session.environment.environment_class)
    keys = {target.name: _key(target, timing) for target in targets}
    found = {name: machine.warmup(key) for name, key in keys.items() if key is not None}
    return {name: passes for name, passes in found.items() if passes is not None}, list(machine.warnings)


def keep(session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec, found: Mapping[str, int]) -> None:
    """Store what a session found out."""
    if not found:
        return
    machine = Machine.load(session.store.root, session.environment.environment_class)
    for target in targets:
        key = _key(target, timing)
        if target.name in found and key is not None:
            machine = machine.with_warmup(key, found[target.name])
    machine.save()


def _key(target: SpeedTarget, timing: TimingSpec) -> str | None:
    """What decides about it: architecture and sizes, back-end, format, threads and shape; not the weights' values.

    None if the model's folder has gone, which timing reports.
    """
    settings = target.settings
    try:
        config = (target.folder / "config.json").read_bytes()
    except OSError:
        return None
    shape = min(timing.shapes, key=lambda shape: shape.batch_size * (shape.sequence_length or 0))
    parts = [settings.device, settings.backend, settings.dtype, settings.attention, str(settings.threads), shape.label]
    return f"{'/'.join(parts)}/{digest(config.decode(errors='replace'))[:16]}"
