"""Guards the architecture: who may import whom, which packages have few doors, how long code may be."""

import ast
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import bertbench

PACKAGE = Path(bertbench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Floors from the ground up: a unit imports only those below its own.
FLOORS = (
    ("errors",),
    ("units", "processes", "safe_text", "streams"),
    ("specs",),
    ("stats",),
    ("records",),
    ("models", "report"),
    ("tasks", "speed"),
    ("quality",),
    ("session",),
    ("gate",),
    ("commands", "api"),
    ("cli",),
    ("__main__",),
)
MEASURING = ("models", "tasks", "speed", "quality", "session")
TOP = "__init__"  # gives `compare` and `load_results` to those who import bertbench

DOORS = {
    "rich": ("report/formats/terminal.py", "report/output.py", "cli.py", "commands/"),
    "yaml": ("specs/yaml_files.py",),
    "datasets": ("tasks/data.py", "tasks/texts.py", "stats/evaluate_metrics.py"),  # the last: types of its features
    "evaluate": ("stats/evaluate_metrics.py", "stats/own_metrics.py"),
    "onnxruntime": ("speed/backends/",),
    "openvino": ("speed/backends/openvino.py",),  # which bars its telemetry
    "nncf": ("speed/backends/openvino_int8.py",),
    "torchao": ("speed/backends/",),
    "pynvml": ("speed/energy.py",),
    "ruptures": ("stats/levels.py",),
    "xlsxwriter": ("report/formats/excel.py",),
    "sqlite3": ("records/index.py",),
    "fsspec": ("records/objects.py",),
    "altair": ("api.py", "report/page/charts.py"),
    "vl_convert": ("report/page/",),
    "jinja2": ("report/page/page.py",),
    "ray": ("session/executors/ray.py",),
    "trackio": ("report/trackers/trackio.py",),
    "mlflow": ("report/trackers/mlflow.py",),
    "wandb": ("report/trackers/wandb.py",),
    "tensorboard": ("report/trackers/tensorboard.py",),
}
HEAVY = (
    "torch", "transformers", "datasets", "evaluate", "pandas", "pydantic", "scipy", "sklearn", "rich", "onnxruntime", "openvino",
    "nncf", "torchao", "ruptures", "sqlite3", "filelock", "altair", "vl_convert", "jinja2", "xlsxwriter", "ray", "fsspec",
    "trackio", "mlflow", "wandb", "tensorboard",
)  # fmt: skip

# 220 for measuring and judging; on top advice, reports, pictures, exporters, what spreads work over machines, and since 260 the
# trackers, one file each, with what tells them (5), what is pushed to the hub: the command, what it takes, how it is sent (3), and the
# protocol: grids of seeds, sweeps, starts from another task, with their statistics, tables and cells (9), how often a model wins over
# seeds and over tasks: two statistics, and the rows of each (4), how often to repeat at each level (1), peak against peak (1), and
# metrics of one's own: what names them, what runs them, what fetches and allows them, and bertbench's as modules of evaluate (4).
# Back-ends, one file each, and what one of them is calibrated on (5).
MOST_FILES = 292
LONGEST_FILE = 400
SHORTEST_FILE = 30
SHORT_FOR_A_REASON = (
    "__main__.py",
    "specs/base.py",  # what every spec is made of, so that none imports another's file
    "records/progress.py",  # what everything that takes long calls
    "stats/metrics/",  # a plugin is one file
    "speed/backends/",
    "report/formats/",
    "report/trackers/",
    "session/executors/",
    "tasks/kinds/",
    "tasks/demo/",
)
# Circles of modules within a package, lazy and typing imports counted. Never add one.
CIRCLES: set[frozenset[str]] = set()
# Class names that mean two things. Never add one.
TWO_MEANINGS: set[str] = set()
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


def unit_of(path):
    """The top-level module or package that a file belongs to."""
    return inside(path).split("/", maxsplit=1)[0].removesuffix(".py")


def floor_of(unit):
    """How high a unit lies."""
    return next(number for number, units_of in enumerate(FLOORS) if unit in units_of)


def offences(is_allowed):
    """'file imports unit' for every import of another unit that is not allowed."""
    return [
        f"{inside(path)} imports {unit}"
        for path in FILES
        if (own := unit_of(path)) != TOP
        for unit in sorted(units(tree_of(path)) & {name for names in FLOORS for name in names})
        if unit != own and not is_allowed(own, unit)
    ]


def test_imports_are_found_wherever_they_stand():
    """Lazy imports and both forms of import count."""
    tree = ast.parse(
        "import a.b\ndef f():\n    from bertbench import stats\n    from bertbench.report.compare import x\n"
    )
    assert {"a.b", "bertbench.stats", "bertbench.report.compare.x"} <= imported(tree)
    assert units(tree) == {"stats", "report"}


def test_imports_go_down():
    """A unit imports only those on lower floors, so that no two need each other."""
    assert offences(lambda own, unit: floor_of(unit) < floor_of(own)) == []


def test_what_measures_and_what_reports_never_meet():
    """Measuring makes records and knows nothing of tables and formats; reports are made from records alone."""
    apart = [{"report", unit} for unit in MEASURING]
    assert offences(lambda own, unit: {own, unit} not in apart) == []


def test_every_unit_has_a_floor():
    """A new package or module takes its place in the list, and one that has gone leaves it."""
    assert {unit_of(path) for path in FILES} - {TOP} == {name for names in FLOORS for name in names}


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


def package_of(name):
    """The package that a module lies in."""
    return name.rpartition(".")[0]


def module_of(path):
    """A file's dotted name."""
    return ".".join(("bertbench", *Path(inside(path)).with_suffix("").parts)).removesuffix(".__init__")


def arrows():
    """By module the modules of bertbench that it imports; of packages only what is in them counts."""
    modules = {module_of(path): path for path in FILES if path.name != "__init__.py"}
    return {name: (imported(tree_of(path)) & modules.keys()) - {name} for name, path in modules.items()}


def reachable(start, graph):
    """Everything that an arrow or several lead to."""
    seen, todo = set(), [start]
    while todo:
        new = graph[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return seen


def test_modules_go_round_in_no_circle():
    """No two modules need each other, whatever packages they are in."""
    graph = arrows()
    far = {name: reachable(name, graph) for name in graph}
    circles = {frozenset(other for other in far[name] if name in far[other]) for name in graph if name in far[name]}
    assert circles == CIRCLES


def test_an_underscore_keeps_a_module_in_its_package():
    """Modules whose name begins with one are imported by modules of the same package alone."""
    assert [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in sorted(others)
        if other.rpartition(".")[2].startswith("_")
        and package_of(other) != package_of(name)
        and (name, package_of(other)) != ("bertbench.cli", "bertbench.commands")  # the front door of that package
    ] == []


def test_a_class_name_means_one_thing():
    """No two classes of a name, but for private ones and those of one file."""
    files = defaultdict(set)
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].add(inside(path))
    assert {name for name, places in files.items() if len(places) > 1} == TWO_MEANINGS


def test_files_are_few():
    """Something new finds its place in a file that is there, or the limit is raised with a reason; markers are no files."""
    assert len([path for path in FILES if path.name != "__init__.py"]) <= MOST_FILES


def test_files_are_worth_opening():
    """A file that is hardly more than its imports belongs into another, but for the reasons listed."""
    lengths = {inside(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    short = {name: length for name, length in lengths.items() if length < SHORTEST_FILE}
    assert [
        name for name in short if not name.endswith("__init__.py") and not name.startswith(SHORT_FOR_A_REASON)
    ] == []


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


# Words that say nothing of what a local holds.
EMPTY_NAMES = {"found", "one", "its", "place"}


def names_bound_in(function):
    """The parameters of a function and what it assigns."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    stored = (node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {*(argument.arg for argument in arguments), *stored}


def test_locals_say_what_they_hold():
    """No function calls a value `found`, `one`, `its` or `place`."""
    empty = [
        f"{inside(path)}:{function.name}"
        for path in FILES
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef) and EMPTY_NAMES & names_bound_in(function)
    ]
    assert empty == []
