"""What SECURITY.md promises of where things come from, and that each of its promises has its test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
YAMLS = sorted([*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / ".github" / "actions").rglob("*.yml")])
PIN = re.compile(r"^[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def versions(name):
    """By package what a file pins; names as the index compares them."""
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in lines}


@pytest.mark.parametrize(
    "path", [*YAMLS, ROOT / "docs" / "gate.md", ROOT / "docs" / "distributed.md"], ids=lambda path: path.name
)
def test_actions_of_others_are_pinned_by_commit(path):
    """Tags can be moved: each action is named by all digits of a commit, with the version as a comment."""
    used = re.findall(r"uses: +(.+)", path.read_text(encoding="utf-8"))
    others = [line for line in used if not line.startswith(("./", "OWNER/"))]
    assert [line for line in others if not PIN.match(line)] == []


def test_users_are_shown_to_pin_the_action():
    """No page shows our own action by a branch."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    used = re.findall(r"actions/bertbench@(\S+)", "".join(page.read_text(encoding="utf-8") for page in pages))
    assert set(used) == {"COMMIT"}


def test_the_lock_is_of_the_versions_that_are_tested():
    """Each package of the lock has the version of constraints.txt and a hash; `make lock` writes it anew."""
    lock, tested = versions(".config/requirements.lock"), versions("constraints.txt")
    assert {package: version for package, version in lock.items() if tested.get(package) != version} == {}
    entries = re.split(r"\n(?=\w)", (ROOT / ".config" / "requirements.lock").read_text(encoding="utf-8").strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_has_everything_that_is_needed():
    """Nothing that pyproject.toml names is left out of the lock but PyTorch, whose wheel comes from another index."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in needed}
    assert names - versions(".config/requirements.lock").keys() == {"torch", "bertbench"}


def test_every_promise_names_a_test_that_exists():
    """SECURITY.md names a test for each promise, and no test that is gone."""
    text = (ROOT / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    promises = [line for line in text.split("## What is read")[0].splitlines() if line.startswith("| ")][1:]
    assert [line for line in promises if "::test_" not in line] == []
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)
    assert len(named) >= len(promises)
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")] == []


@pytest.mark.slow
def test_a_token_is_written_nowhere(bench, tmp_path):
    """What stands in HF_TOKEN is neither in what a command prints nor in anything that it writes."""
    token = "hf_" + "q7" * 17
    arguments = ("run", "--task", "demo-sentiment", "--models", "bert-mini", "--only", "size")
    done = bench(*arguments, "--results-dir", tmp_path / "results", HF_TOKEN=token)
    assert done.code == 0, done.stderr
    written = [path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(written) > 2
    assert not [content for content in written if token.encode() in content]
    assert token not in done.stdout + done.stderr
