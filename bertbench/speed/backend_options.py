"""Which ways of running a model are asked for: back-ends times number formats, as far as they go together.

Not aware of models. Nothing heavy is imported: a back-end's file says what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.errors import BertBenchError, UnknownNameError, UsageError
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import exports

HIDDEN = frozenset({"fake"})  # for tests


def backends() -> list[str]:
    """Names of all back-ends that measure something, PyTorch's first."""
    found = [name for name in plugins.names("bertbench.speed.backends") if name not in HIDDEN]
    return sorted(found, key=lambda name: (name != "eager", name))


def parse(value: str, device: str) -> tuple[tuple[str, ...], list[str]]:
    """The back-ends that `--backends` names, in its order, and notes on those of 'all' that are left out.

    Raises:
        BertBenchError: a name is unknown, or what is named cannot run here; the message says how to install it.
    """
    names = [name.strip().replace("_", "-") for name in value.split(",") if name.strip()]
    if not names:
        raise UsageError("--backends: no name given", f"back-ends: all, {', '.join(backends())}")
    if names != ["all"]:
        if "all" in names:
            raise UsageError("--backends: 'all' stands alone", "leave the other names out")
        if len(set(names)) != len(names):
            raise UsageError(f"--backends {value}: a name is given twice")
        for name in names:
            _check(name, device)
        return tuple(names), []
    found, notes = [], []
    for name in backends():
        try:
            _check(name, device)
        except BertBenchError as error:
            notes.append(f"{name} is left out: {error.message}")
        else:
            found.append(name)
    return tuple(found), notes


def _check(name: str, device: str) -> None:
    if name not in backends():
        raise UnknownNameError("back-end", name, ["all", *backends()])
    backend = plugins.load("bertbench.speed.backends", "back-end", name)
    exports.check(name, ExecutionSettings(device=device, dtype=backend.dtypes[0], backend=name))


def combinations(names: Sequence[str], dtypes: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of back-end and number format, back-end by back-end, and notes on those that do not go together.

    A back-end of one format only, int8 say, has it whatever is asked for.

    Raises:
        UsageError: a back-end runs in none of `dtypes`.
    """
    found: list[tuple[str, str]] = []
    notes: list[str] = []
    for name in names:
        offered = plugins.load("bertbench.speed.backends", "back-end", name).dtypes
        own = offered if len(offered) == 1 else tuple(dtype for dtype in dtypes if dtype in offered)
        if not own:
            raise UsageError(f"--dtypes {','.join(dtypes)}: {name} runs in {', '.join(offered)} only")
        missing = [dtype for dtype in dtypes if dtype not in own and len(offered) > 1]
        if missing:
            notes.append(f"{name} does not run in {', '.join(missing)}")
        found += [(name, dtype) for dtype in own]
    return found, notes


def parse_dtypes(value: str, device: str) -> tuple[str, ...]:
    """The number formats that `--dtypes` names, resolved.

    Raises:
        UsageError: unknown or given twice; DeviceError: the device cannot compute with it.
    """
    from bertbench.records.environment import resolve_dtype

    names = [name.strip() for name in value.split(",") if name.strip()]
    found = tuple(resolve_dtype(name, device) for name in names)
    if not found or len(set(found)) != len(found):
        raise UsageError(f"--dtypes {value}: name each number format once", "formats: fp32, bf16, fp16")
    return found


def parse_numbers(option: str, value: str, most: int | None = None) -> tuple[int, ...]:
    """The whole numbers of a comma list, in its order.

    Raises:
        UsageError: not whole numbers, below 1, above `most`, or given twice.
    """
    try:
        found = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"{option} {value}: expected whole numbers such as 1,8,32") from None
    bad = next((number for number in found if number < 1 or (most is not None and number > most)), None)
    if bad is not None:
        raise UsageError(f"{option} {bad}: must be 1 or more" + (f", {most:,} at most" if most else ""))
    if len(set(found)) != len(found):
        raise UsageError(f"{option} {value}: a number is given twice")
    return found
