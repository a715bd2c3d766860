"""What is installed: a wheel that works away from its checkout, few packages unless asked for, a release without a token."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = ROOT / ".github" / "workflows"
# In the default all the same, for a reason that pyproject.toml gives.
BY_DEFAULT = {"report"}


def names_in(lines):
    """The packages that requirements name, as the index compares them."""
    return {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in lines}


def workflow(name):
    """A workflow; YAML reads its key `on` as true."""
    return yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))


def run(command, **options):
    """What a process printed; fails with its errors if it did not end well."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from the source archive, as a release is."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PIP_CONSTRAINT": str(ROOT / "constraints.txt")},
    )
    if done.returncode and "No matching distribution found for hatchling" in done.stdout + done.stderr:
        pytest.skip("no package index to take hatchling from")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_works_away_from_its_checkout(wheel, tmp_path):
    """Installed alone beside what it needs, the wheel has its configs and schemas, and its commands answer in any folder."""
    home, elsewhere = tmp_path / "fresh", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home)
    python = home / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel])
    # What it needs is what these tests run with; a .pth in that folder, such as that of the checkout, is not followed.
    (site,) = (home / "lib").glob("python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def bertbench(*arguments):
        return run([home / "bin" / "bertbench", *arguments], cwd=elsewhere, env=variables)

    where = run([python, "-c", "import bertbench; print(bertbench.__file__)"], cwd=elsewhere, env=variables)
    assert Path(where.strip()).is_relative_to(site)
    assert "Measure" in bertbench("--help")
    assert "distilbert" in bertbench("list", "models")
    assert "configs/models/ours.yaml" in bertbench("init", "model", "ours")
    assert "no problems found" in bertbench("validate")
    options = ["--only", "size", "--suite", "demo", "--format", "csv"]
    assert "bert-mini" in bertbench("compare", *options)
    assert (elsewhere / "results" / "sessions").is_dir()


@pytest.mark.slow
def test_wheel_holds_the_package_alone(wheel):
    """Nothing but bertbench is installed: no tests, no pages, no results."""
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        held = set(archive.namelist())
    assert {re.sub(r"-[\d.]+\.dist-info", "", top) for top in tops} == {"bertbench"}
    for folder in ("configs/models", "configs/published", "schemas"):
        assert [name for name in held if name.startswith(f"bertbench/{folder}/")], folder
    assert not [name for name in held if "__pycache__" in name]


def test_the_default_is_lean():
    """Back-ends, clusters, buckets and trackers are installed by those who ask for them."""
    default, extras = names_in(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    optional = {name: names_in(lines) - {"bertbench"} for name, lines in extras.items() if name not in BY_DEFAULT}
    assert {name: packages & default for name, packages in optional.items() if packages & default} == {}
    assert len(default) < 30


def test_all_and_dev_name_extras_that_exist():
    """An extra made of others names none that is gone."""
    extras = PROJECT["optional-dependencies"]
    for lines in extras.values():
        for line in lines:
            for listed in re.findall(r"^bertbench\[([^\]]+)\]", line):
                assert set(listed.split(",")) <= extras.keys()


def test_a_release_needs_no_token():
    """The job that publishes may ask PyPI's trust and nothing else, and the workflow knows no secret."""
    text = (WORKFLOWS / "release.yml").read_text(encoding="utf-8")
    jobs = workflow("release.yml")["jobs"]
    assert "secrets." not in text
    assert "password" not in text
    assert workflow("release.yml")["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    # Who can publish runs nothing of the checkout.
    assert not [step for step in jobs["publish"]["steps"] if "run" in step or "checkout" in step["uses"]]
    assert "permissions" not in jobs["build"]


def test_a_release_has_one_version():
    """The tag is compared with what is built, and no input is pasted into a script."""
    scripts = [step.get("run", "") for job in workflow("release.yml")["jobs"].values() for step in job["steps"]]
    assert not [script for script in scripts if "${{" in script]
    assert any("bertbench-${TAG#v}-py3-none-any.whl" in script for script in scripts)


# The container, without docker: what can be seen in its files.

CONTAINER = ROOT / ".config" / "Dockerfile"


def instructions():
    """The instructions of the Dockerfile in order, each as (name, arguments); continued lines are joined."""
    text = re.sub(r"^\s*#.*\n", "", CONTAINER.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], " ".join(line.split()[1:])) for line in lines]


def arguments_of(name):
    """The arguments of every instruction of a name."""
    return [arguments for instruction, arguments in instructions() if instruction == name]


def test_dockerfile_has_instructions_that_exist():
    """Every line is an instruction, and the first is where it comes from."""
    known = {"FROM", "ARG", "WORKDIR", "ENV", "RUN", "COPY", "USER", "VOLUME", "ENTRYPOINT", "CMD"}
    names = [name for name, _ in instructions()]
    assert set(names) <= known
    assert names[0] == "FROM"


def test_container_comes_from_a_version():
    """Bases are named by a whole version, never by what is newest, and are those of the Python that is tested."""
    bases = {arguments.split()[0] for arguments in arguments_of("FROM")}
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base) for base in bases)
    assert len(bases) == 1


def test_container_is_of_the_versions_that_are_tested():
    """PyTorch comes from the index that is asked for, by default that of CPUs; the rest is held by constraints.txt."""
    assert "TORCH=cpu" in arguments_of("ARG")
    torch, bertbench = (line for line in arguments_of("RUN") if "pip install" in line)
    assert "https://download.pytorch.org/whl/${TORCH}" in torch
    assert "'^torch==' constraints.txt" in torch
    assert "--constraint constraints.txt ." in bertbench
    assert ("ENV", "PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1") in instructions()


def test_container_runs_bertbench_and_not_as_root():
    """The last user is none with rights, and the entry point is a list, so that signals reach the command."""
    names = [name for name, _ in instructions()]
    last = len(names) - 1 - names[::-1].index("FROM")
    after = instructions()[last:]
    (user,) = (arguments for name, arguments in after if name == "USER")
    assert user not in {"root", "0"}
    assert after.index(("USER", user)) < after.index(("ENTRYPOINT", '["bertbench"]'))
    assert arguments_of("CMD") == ['["--help"]']
    assert not [line for line in arguments_of("RUN") if re.search(r"\bsudo\b|curl .*\| *(ba)?sh|apt-get upgrade", line)]


def test_container_copies_what_is_there_and_is_sent():
    """Each file that is copied exists and is no exception of the list of what stays here."""
    sent = (ROOT / ".config" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {word for line in arguments_of("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {line[1:] for line in sent if line.startswith("!")} == copied
    assert "*" in sent


# What conda calls differently.
CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}


def test_conda_recipe_says_what_pyproject_says():
    """Its version, its bounds and its entry point are those of the wheel."""
    import bertbench

    recipe = yaml.safe_load((ROOT / ".config" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == bertbench.__version__
    bounds = dict(re.match(r"([\w-]+)>=([\d.]+)$", line).groups() for line in PROJECT["dependencies"])
    asked = dict(line.split(" >=") for line in recipe["requirements"]["run"])
    assert asked.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    assert asked == {CONDA_NAMES.get(name, name): bound for name, bound in bounds.items()}
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in PROJECT["scripts"].items()
    ]
    assert recipe["about"]["license"] == PROJECT["license"]


def test_other_systems_are_tried_in_ci():
    """Windows and macOS install the package and try what works there."""
    job = workflow("ci.yml")["jobs"]["elsewhere"]
    assert {name.split("-")[0] for name in job["strategy"]["matrix"]["os"]} == {"windows", "macos"}
    script = "\n".join(step.get("run", "") for step in job["steps"])
    for command in ("--help", "list models", "init", "validate", "report"):
        assert f"bertbench {command}" in script
    tried = re.findall(r"tests/[\w/]+(?:\.py)?", script)
    assert tried
    assert [path for path in tried if not (ROOT / path).exists()] == []
