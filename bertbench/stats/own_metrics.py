"""Metrics of a user's own, run: modules of `evaluate` that the user has allowed by name, shaped like bertbench's.

Their code may raise, print, exit, return what is no number, or take minutes over resamples. None of that loses a run: the metric
is then undefined, with the reason in one line, and what takes too long to resample has no interval. What kills the process at once
(`os._exit`, a crash of native code) or never returns ends as it does for any library: the run is recorded as lost, or is stopped.

`evaluate.load` would copy the code, fetch what its comments name and leave files in the user's cache; here the very files that
were identified are imported, and their class is made as `evaluate.load` makes it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import ConfigError, MeasurementError, first_line
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from types import CodeType

    import numpy as np
    from numpy.typing import NDArray

    from bertbench.specs.own_metrics import MetricCode, OwnMetricSpec

    Floats = NDArray[np.float64]

NUMBERS = frozenset({"classification", "regression"})  # the others are answers and tags
PATIENCE_S = 20.0  # for the resamples of one metric and run, of which a figure of two models takes two
TRIED = 10  # resamples, by whose time that of all is foretold
SAME = 1e-4  # between values of which one went through a table, which may hold numbers of 32 bits
DRAWN = 5_000  # examples that a resample is written out to, if its weights are not rounded too much by that
ROUNDED = 0.02  # of the variance is what rounding may add; 6 % where all of many examples differ, which halves give


@dataclass
class OwnMetric:
    """One metric of a user's own, as `bertbench.stats.metric.Metric`; `why_no_interval` says what kept it from one, if anything did."""

    spec: OwnMetricSpec
    module: Any
    why_no_interval: str = ""
    slow: dict[int, str] = field(default_factory=dict)  # by number of examples, why their resamples were not waited for
    is_checked: bool = False  # that `_compute` alone gives what `compute` gives
    influence: None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.spec.name

    @property
    def applies_to(self) -> frozenset[str]:
        """What its predictions and references are."""
        return frozenset({self.spec.applies_to})

    def compute(self, predictions: Sequence[Any] | Floats, references: Sequence[Any] | Floats) -> float | None:
        """Compute the metric over all examples; None where it has no value."""
        return self.measure(predictions, references)[0]

    def measure(
        self, predictions: Sequence[Any] | Floats, references: Sequence[Any] | Floats
    ) -> tuple[float | None, str]:
        """Compute the metric over all examples: its value, or None and the reason, in one line."""
        sides = (self._side(predictions), self._side(references))
        return self._value(lambda: self.module.compute(predictions=sides[0], references=sides[1], **self.spec.options))

    def resample(self, predictions: Floats, references: Floats, counts: Floats) -> Floats:
        """Compute the metric for each row of weights, from examples written out; NaN where that takes too long.

        Weights are rounded at random to quarters or, of many examples, to what keeps a resample quick: a weight that is rounded to
        1/t has a variance that is larger by 1/(4 t²) at most, beside one of 1 for each example that is drawn.

        Args:
            predictions: shape (n,).
            references: shape (n,).
            counts: shape (r, n), how much each example weighs.
        """
        import numpy as np

        from bertbench.stats.intervals import RESAMPLES

        values = np.full(len(counts), np.nan)
        total = float(counts.sum()) / len(counts)  # of weights that vary around the number of examples
        if self.why_not(round(total)):
            return values
        times = _times(counts.shape[1], total)
        rounding = np.random.default_rng(0)
        began = time.perf_counter()
        for number, row in enumerate(counts):
            drawn = np.floor(times * row + rounding.random(row.shape)).astype(np.int64)
            sides = (np.repeat(predictions, drawn), np.repeat(references, drawn))
            value = self._drawn(*sides)
            if not self.is_checked and not self._agrees(value, *sides):
                return values
            values[number] = np.nan if value is None else value
            if number == 0:
                began = time.perf_counter()  # the first one is checked, and often imports something
                continue
            each = (time.perf_counter() - began) / number
            if number >= min(TRIED, len(counts) - 1) and each * RESAMPLES > PATIENCE_S:
                self.slow[round(total)] = (
                    f"no interval: {RESAMPLES:,} resamples of {self.name} would take {each * RESAMPLES:,.0f} s or more"
                )
                return np.full(len(counts), np.nan)
        return values

    def why_not(self, examples: int) -> str:
        """Say why the metric over so many examples has no interval; empty where nothing is known that keeps it from one.

        What was too slow is so for a few less, too: a resample also weighs what its prior adds.
        """
        most = 1.1 * examples + 10
        return self.why_no_interval or next((self.slow[n] for n in sorted(self.slow) if n <= most), "")

    def _agrees(self, value: float | None, predictions: Floats, references: Floats) -> bool:
        """Tell whether `compute` gives a resample's value, too: it may turn what it is given into something else first."""
        whole = self.compute(predictions, references)
        self.is_checked = value is whole is None or (
            value is not None and whole is not None and math.isclose(value, whole, abs_tol=SAME)
        )
        if not self.is_checked:
            self.why_no_interval = (
                f"no interval: _compute of {self.name}, called alone on a resample, gave {_shown(value)}, "
                f"compute {_shown(whole)}"
            )
        return self.is_checked

    def _drawn(self, predictions: Floats, references: Floats) -> float | None:
        """Compute the metric of one resample by the function that `compute` calls, without its detour through tables."""
        is_listed = getattr(self.module, "format", None) is None
        sides = [self._side(side) for side in (predictions, references)]
        if is_listed and self.spec.applies_to in NUMBERS:
            sides = [side.tolist() for side in sides]
        return self._value(
            lambda: self.module._compute(predictions=sides[0], references=sides[1], **self.spec.options)  # noqa: SLF001 (evaluate has no other way without tables)
        )[0]

    def _side(self, values: Any) -> Any:
        """Turn predictions or references into what such a metric takes: whole numbers of classes, numbers, or as they are."""
        import numpy as np

        if self.spec.applies_to not in NUMBERS:
            return list(values)
        numbers = np.asarray(values, dtype=float)
        return np.rint(numbers).astype(np.int64) if self.spec.applies_to == "classification" else numbers

    def _value(self, call: Callable[[], Any]) -> tuple[float | None, str]:
        """Call a user's code, and read the one number out of what it returns, which is a user's, too."""
        try:
            with _muted():
                return self._read(call())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (sys.exit included: nothing that it does ends the command)
            return None, f"its code raised {type(error).__name__}{_words(error)}"

    def _read(self, result: Any) -> tuple[float | None, str]:
        """Read the one number out of a result: its value, or None and the reason."""
        import numpy as np

        if not isinstance(result, Mapping):
            return None, f"its code returned {_kind(result)}, expected a dict with '{self.spec.key}'"
        if self.spec.key not in result:
            keys = ", ".join(str(key) for key in list(result)[:10]) or "nothing"
            return None, f"its code returned no '{self.spec.key}', but {keys:.100}: write its key as 'result'"
        value = result[self.spec.key]
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if not isinstance(value, Real | np.floating | np.integer) or isinstance(value, bool):
            return None, f"its code returned {_kind(value)} for '{self.spec.key}', expected one number"
        number = float(value)
        wrong = quantity_of(self.name).possible.why_impossible(number)
        if wrong is not None:
            return None, f"its code returned {number:g}, which {wrong}: let it give 0 to 1, or -1 to 1"
        return number, ""


def _times(units: int, total: float) -> float:
    """Return how often a resample of `total` examples, `units` of them distinct, is written out."""
    return min(4.0, max(DRAWN / total, min(2.0, math.sqrt(units / (4 * ROUNDED * total)))))


def _words(error: BaseException) -> str:
    """Write an error's message behind a colon; nothing where it has none or raises, which a user's own may do."""
    try:
        return f": {first_line(error)}"
    except Exception:  # noqa: BLE001 (whatever it is: there is no message)
        return ""


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} ({value!r:.30})"


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Drop what a user's code prints: stdout is for results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


# Those that were loaded in this process, by what describes them. Nothing gets here that the user did not allow.
_loaded: dict[str, OwnMetric] = {}


def of(spec: OwnMetricSpec) -> OwnMetric:
    """Load a metric of a user's own, once in a process.

    Raises:
        MeasurementError: the user did not allow it, or it cannot be loaded.
    """
    if not spec.allowed or spec.code is None:
        raise MeasurementError(refusal(spec), what_to_add(spec))
    key = _key(spec.model_dump(mode="json"))
    if key not in _loaded:
        _loaded[key] = OwnMetric(spec, _instance(spec, spec.code))
    return _loaded[key]


def refusal(spec: OwnMetricSpec) -> str:
    """Say what would be executed and where it lies."""
    if spec.code is None:
        return f"metric {spec.name} is Python code of the hub, {spec.hub_name}, which is neither fetched nor run unless you allow it"
    where = spec.code.folder or spec.code.file
    return f"metric {spec.name} is Python code in {where} (sha256 {spec.code.sha256:.12}), which is run only if you allow it"


def what_to_add(spec: OwnMetricSpec) -> str:
    """Say what allows a metric."""
    return f"read it, then add --allow-metric {spec.allowed_as}"


def of_record(task: Mapping[str, Any] | None) -> dict[str, OwnMetric]:
    """Return, of the metrics that a record describes, those that the user has allowed in this command; a record loads nothing."""
    described = (task or {}).get("own_metrics") or ()
    return {
        entry["name"]: _loaded[key]
        for entry in described
        if isinstance(entry, Mapping) and "name" in entry and (key := _key(entry)) in _loaded
    }


def loaded(names: Sequence[str]) -> dict[str, OwnMetric]:
    """Return, by name, those that the user has allowed in this command; a name of several codes is left out."""
    by_name: dict[str, list[OwnMetric]] = {}
    for metric in _loaded.values():
        by_name.setdefault(metric.name, []).append(metric)
    return {name: metrics[0] for name, metrics in by_name.items() if name in names and len(metrics) == 1}


def why_no_interval(task: Mapping[str, Any] | None, names: Sequence[str], examples: int | None = None) -> str:
    """Say why the values of a record's metrics have no intervals; empty where nothing of a user's own is to blame.

    `examples` is what they were computed over: of fewer than took too long there may be one.
    """
    described = [entry.get("name") for entry in (task or {}).get("own_metrics") or () if isinstance(entry, Mapping)]
    loaded = of_record(task)
    for name in names:
        if name in described and name not in loaded:
            if any(metric.name == name for metric in _loaded.values()):
                return f"no interval: the code of {name}, or how it is called, is another now"
            return (
                f"no interval: the code of {name} was not run (`run` and `compare` run it with --allow-metric {name})"
            )
        if name in loaded and (why := loaded[name].why_not(examples or 0)):
            return why
    return ""


def _key(description: Mapping[str, Any]) -> str:
    return json.dumps(description, sort_keys=True)


def _instance(spec: OwnMetricSpec, code: MetricCode) -> Any:
    """Import a metric's module and make its class, with nothing left on the disk.

    Raises:
        MeasurementError: that fails in any way, or the code is no longer what was identified.
    """
    from bertbench.specs.own_metrics import installed_code, read_code  # pydantic, which lists of metrics do without

    try:
        now = read_code(spec.name, code.folder or code.file) if code.module is None else installed_code(spec)
    except ConfigError as error:
        raise MeasurementError(error.message, error.hint) from None
    if now.sha256 != code.sha256:
        raise MeasurementError(f"metric {spec.name}: the code in {code.folder or code.file} has changed", "start again")
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import evaluate

        with _muted():
            kind = getattr(_module(code), code.class_name)
            with tempfile.TemporaryDirectory(prefix="bertbench-metric-") as scratch:
                module = kind(config_name=spec.config_name, keep_in_memory=True, cache_dir=scratch)
                module.download_and_prepare()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (sys.exit included)
        raise MeasurementError(
            f"metric {spec.name}: {code.file} cannot be loaded ({type(error).__name__}{_words(error)})",
            "correct it, or leave the metric out",
        ) from None
    finally:
        sys.dont_write_bytecode = written
    if not isinstance(module, evaluate.EvaluationModule):
        raise MeasurementError(
            f"metric {spec.name}: {code.class_name} in {code.file} is not derived from evaluate.Metric"
        )
    return module


class _FromSource(SourceFileLoader):
    """Compiles the file that was identified: bytecode beside it may be of any other, which nobody has read."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_from_source(folder: Path) -> None:
    """Let the modules of a folder and those below it be imported from their sources alone."""
    for inside in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        loaders = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))
        is_left = "__pycache__" in inside.relative_to(folder).parts  # which the digest does not cover
        sys.path_importer_cache[str(inside)] = FileFinder(str(inside), *(() if is_left else loaders))


def _module(code: MetricCode) -> Any:
    """Import the module of a metric; a folder's files import each other as those of a package (`from .words import …`)."""
    name, folder = code.module or f"bertbench_own_metric_{code.sha256[:24]}", code.folder
    if code.module is not None:
        if "." in name:
            importlib.import_module(name.rpartition(".")[0])
        installed = sys.modules.get(name)  # bertbench, or the package that it is in, may have imported it
        if installed is not None:
            if not Path(installed.__file__ or "").samefile(code.file):
                raise ImportError(f"{name} is {installed.__file__}")
            return installed
        folder = code.file.parent if code.file.name == "__init__.py" else None
    if folder:
        _import_from_source(folder)
    loader = _FromSource(name, str(code.file))
    inside = [str(folder)] if folder else None
    spec = importlib.util.spec_from_file_location(name, code.file, loader=loader, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python module: {code.file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
