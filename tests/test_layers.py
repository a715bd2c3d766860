"""Guards the architecture: who may import whom, which packages have few doors, how long code may be."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import bertbench

PACKAGE = Path(bertbench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Neutral, and used by both sides: records, specs, store, machines, and the mathematics of `sequential`, `queueing`, `padding`.
MEASURE = (
    "anatomy",
    "architecture",
    "attention",
    "backends",
    "calibration",
    "configurations",
    "data",
    "delimited",
    "doctor",
    "energy",
    "environment",
    "estimates",
    "examples",
    "exports",
    "fingerprint",
    "flops",
    "hub",
    "ids",
    "interpreters",
    "lengths",
    "modeling",
    "parameters",
    "plan",
    "process_memory",
    "processes",
    "rowfiles",
    "rows",
    "runners",
    "servant",
    "session",
    "sources",
    "steps",
    "students",
    "suitability",
    "task_data",
    "tasks",
    "texts",
    "timing",
    "training_format",
    "variants",
    "workers",
)
NEUTRAL = (
    "claim_specs", "distill_specs", "json_files", "launch", "machines", "padding", "paper_specs", "parts", "places", "published", "queueing", "recipe_specs", "records", "results", "safe_text", "sequential", "spec_base", "specs", "store", "task_specs", "units",
)  # fmt: skip
REPORT = ("exporters", "output", "power", "report", "resampling", "seed_spread", "stats")
REPORT_FAMILIES = ("compare", "gate", "tables")

DOORS = {
    "rich": ("exporters/terminal.py", "output.py", "cli.py", "commands/", "display.py"),
    "yaml": ("yaml_files.py",),
    "datasets": ("data.py", "metrics/_module.py", "texts.py"),
    "evaluate": ("metrics/_module.py",),
    "onnxruntime": ("backends/",),
    "openvino": ("backends/",),
    "torchao": ("backends/",),
    "pynvml": ("energy.py",),
    "ruptures": ("compare/levels.py",),
    "sqlite3": ("store/index.py",),
}
HEAVY = (
    "torch", "transformers", "datasets", "pandas", "pydantic", "evaluate", "scipy", "sklearn", "rich", "onnxruntime", "openvino",
    "torchao", "ruptures", "sqlite3", "filelock",
)  # fmt: skip

LONGEST_FILE = 300
LONGEST_FUNCTION = 60


def imported(tree):
    """Dotted names that a module imports, at its top or inside functions; `from a import b` gives a and a.b."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@cache
def tree_of(path):
    """The parsed file, once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def inside(path):
    """The file's place in the package."""
    return path.relative_to(PACKAGE).as_posix()


def units(tree):
    """Top-level modules and packages of bertbench that are imported."""
    return {name.split(".")[1] for name in imported(tree) if name.startswith("bertbench.")}


def is_measuring(unit):
    """True for what makes records."""
    return unit in MEASURE


def is_reporting(unit):
    """True for what reads records."""
    return unit in REPORT or unit.startswith(REPORT_FAMILIES)


def unit_of(path):
    """The top-level module or package that a file belongs to."""
    return inside(path).split("/", maxsplit=1)[0].removesuffix(".py")


def offences(own_side, other_side):
    """'file imports unit' for every import across the waist."""
    return [
        f"{inside(path)} imports {unit}"
        for path in FILES
        if own_side(unit_of(path))
        for unit in sorted(units(tree_of(path)))
        if other_side(unit)
    ]


def test_imports_are_found_wherever_they_stand():
    """Lazy imports and both forms of import count."""
    tree = ast.parse(
        "import a.b\ndef f():\n    from bertbench import stats\n    from bertbench.report.compare.build import x\n"
    )
    assert {"a.b", "bertbench.stats.intervals", "bertbench.report.compare.build.x"} <= imported(tree)
    assert units(tree) == {"stats", "compare"}


def test_what_measures_never_imports_what_reports():
    """Measuring makes records and knows nothing of statistics, tables and formats."""
    assert offences(is_measuring, is_reporting) == []


def test_what_reports_never_imports_what_measures():
    """Reports are made from records alone."""
    assert offences(is_reporting, is_measuring) == []


def test_what_both_sides_use_knows_neither():
    """Records, specs and the mathematics between measuring and reporting import nothing of the two."""
    assert offences(NEUTRAL.__contains__, is_measuring) == []
    assert offences(NEUTRAL.__contains__, is_reporting) == []


def test_every_listed_module_is_there():
    """A module that was renamed does not silently leave its side."""
    there = {unit_of(path) for path in FILES}
    assert {*MEASURE, *REPORT, *REPORT_FAMILIES, *NEUTRAL} <= there


@pytest.mark.parametrize("package", DOORS)
def test_heavy_packages_have_few_doors(package):
    """Only the named files import the package, so that it can be replaced or left unloaded."""
    found = [
        inside(path)
        for path in FILES
        if package in {name.split(".")[0] for name in imported(tree_of(path))}
        and not inside(path).startswith(DOORS[package])
    ]
    assert found == []


@pytest.mark.skipif(not (PACKAGE / "cli.py").exists(), reason="bertbench.cli is not there yet")
def test_the_command_line_loads_nothing_heavy():
    """`bertbench --help` answers without the libraries that measuring needs."""
    code = f"import sys, bertbench.cli; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_files_are_short():
    """No file is longer than can be read in one go."""
    lengths = {inside(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_are_short():
    """No function is longer than a screen."""
    lengths = {
        f"{inside(path)}:{node.name}": node.end_lineno - node.body[0].lineno + 1
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
