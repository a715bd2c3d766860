"""Which ways of running a model are asked for: back-ends times number formats, as far as they go together.

Nothing heavy is imported: a back-end's file says what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.errors import BertBenchError, UnknownNameError, UsageError
from bertbench.records.environment import resolve_dtype
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import exports

HIDDEN = frozenset({"fake"})  # for tests


def backends() -> list[str]:
    """Name all back-ends that measure something, PyTorch's first."""
    names = [name for name in plugins.names("bertbench.speed.backends") if name not in HIDDEN]
    return sorted(names, key=lambda name: (name != "eager", name))


def parse(value: str, device: str) -> tuple[tuple[str, ...], list[str]]:
    """Read the back-ends that `--backends` names, in its order, with notes on those of 'all' that are left out.

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
    usable, notes = [], []
    for name in backends():
        try:
            _check(name, device)
        except BertBenchError as error:
            notes.append(f"{name} is left out: {error.message}")
        else:
            usable.append(name)
    return tuple(usable), notes


def _check(name: str, device: str) -> None:
    if name not in backends():
        raise UnknownNameError("back-end", name, ["all", *backends()])
    backend = exports.load_backend(name)
    exports.check(name, ExecutionSettings(device=device, dtype=backend.dtypes[0], backend=name))


def combinations(
    names: Sequence[str], dtypes: Sequence[str], load: exports.LoadBackend = exports.load_backend
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pair back-end and number format, back-end by back-end, with notes on those that do not go together.

    A back-end of one format only, int8 say, has it whatever is asked for.

    Raises:
        UsageError: a back-end runs in none of `dtypes`.
    """
    pairs: list[tuple[str, str]] = []
    notes: list[str] = []
    for name in names:
        offered = load(name).dtypes
        chosen = offered if len(offered) == 1 else tuple(dtype for dtype in dtypes if dtype in offered)
        if not chosen:
            raise UsageError(f"--dtypes {','.join(dtypes)}: {name} runs in {', '.join(offered)} only")
        missing = [dtype for dtype in dtypes if dtype not in chosen and len(offered) > 1]
        if missing:
            notes.append(f"{name} does not run in {', '.join(missing)}")
        pairs += [(name, dtype) for dtype in chosen]
    return pairs, notes


def parse_dtypes(value: str, device: str) -> tuple[str, ...]:
    """Resolve the number formats that `--dtypes` names.

    Raises:
        UsageError: unknown or given twice; DeviceError: the device cannot compute with it.
    """
    names = [name.strip() for name in value.split(",") if name.strip()]
    dtypes = tuple(resolve_dtype(name, device) for name in names)
    if not dtypes or len(set(dtypes)) != len(dtypes):
        raise UsageError(f"--dtypes {value}: name each number format once", "formats: fp32, bf16, fp16")
    return dtypes


def parse_numbers(option: str, value: str, most: int | None = None) -> tuple[int, ...]:
    """Read the whole numbers of a comma list, in its order.

    Raises:
        UsageError: not whole numbers, below 1, above `most`, or given twice.
    """
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"{option} {value}: expected whole numbers such as 1,8,32") from None
    bad = next((number for number in numbers if number < 1 or (most is not None and number > most)), None)
    if bad is not None:
        raise UsageError(f"{option} {bad}: must be 1 or more" + (f", {most:,} at most" if most else ""))
    if len(set(numbers)) != len(numbers):
        raise UsageError(f"{option} {value}: a number is given twice")
    return numbers
