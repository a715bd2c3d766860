"""The GitHub action: inputs reach the command word for word and are never run; its exit code is the gate's."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
ACTION = REPOSITORY / ".github" / "actions" / "bertbench"
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the action says that it needs Linux or macOS"),
    pytest.mark.skipif(not ACTION.exists(), reason="not in this copy of the project"),
]
NAMES = (
    "BASELINE",
    "MODELS",
    "AGAINST_MODEL",
    "SUITE",
    "ONLY",
    "MAX_MINUTES",
    "ARGUMENTS",
    "COMMENT_FILE",
    "JUNIT",
    "POLICY",
    "BENCHER",
)


@pytest.fixture
def gate(tmp_path):
    """Runs the script with these inputs and a bertbench that writes down its words; gives exit code, words, output file."""

    def run(code=0, allow="false", **inputs):
        fake = tmp_path / "python"
        listed = shlex.quote(str(tmp_path / "words"))
        real = shlex.quote(sys.executable)
        fake.write_text(
            f'#!/bin/sh\nif [ "$1" = -c ]; then exec {real} "$@"; fi\nprintf "%s\\n" "$@" >{listed}\nexit {code}\n'
        )
        fake.chmod(0o755)
        outputs = tmp_path / "outputs"
        outputs.write_text("")
        given = {"BASELINE": "results/baseline", "MODELS": "all", **inputs}
        environment = {name: given.get(name, "") for name in NAMES}
        environment |= {
            "PYTHON": str(fake),
            "ALLOW_INCONCLUSIVE": allow,
            "GITHUB_OUTPUT": str(outputs),
            "PATH": "/usr/bin:/bin",
        }
        done = subprocess.run(
            ["/bin/bash", str(ACTION / "gate.sh")], env=environment, capture_output=True, text=True, check=False
        )
        words = (tmp_path / "words").read_text().splitlines() if (tmp_path / "words").exists() else []
        return done, words, outputs.read_text()

    return run


def test_inputs_are_options(gate):
    """Every input that is given becomes its option; a base model takes the baseline's place."""
    _, words, _ = gate(ONLY="size,quality", MAX_MINUTES="5", SUITE="demo", JUNIT="a.xml", COMMENT_FILE="a b.md")
    assert words[:5] == ["-m", "bertbench", "check", "--models", "all"]
    rest = dict(zip(words[5::2], words[6::2], strict=True))
    assert rest == {
        "--junit": "a.xml", "--output": "a b.md", "--baseline": "results/baseline", "--suite": "demo",
        "--only": "size,quality", "--max-minutes": "5",
    }  # fmt: skip
    _, words, _ = gate(AGAINST_MODEL="./released")
    assert "--baseline" not in words
    assert words[-2:] == ["--against-model", "./released"]
    _, words, _ = gate(POLICY="my gate.yaml", BENCHER="b.json")
    assert words[-4:] == ["--policy", "my gate.yaml", "--bencher", "b.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--margin-quality 0.999\n--threads 2", ["--margin-quality", "0.999", "--threads", "2"]),
        ("\n  --config-dir 'my configs'\n", ["--config-dir", "my configs"]),
        (
            "--task $(touch ran) `touch ran` ; touch ran",
            ["--task", "$(touch", "ran)", "`touch", "ran`", ";", "touch", "ran"],
        ),
        ("--task *", ["--task", "*"]),
    ],
)
def test_arguments_are_split_as_on_a_command_line(gate, tmp_path, text, words):
    """Lines and quotes count, nothing in them is run or expanded."""
    _, found, _ = gate(ARGUMENTS=text)
    assert found[-len(words) :] == words
    assert not (tmp_path / "ran").exists()


def test_an_open_quote_is_said(gate):
    """What cannot be split fails the step, and nothing is gated by half of it."""
    done, words, _ = gate(ARGUMENTS="--task 'sst2")
    assert done.returncode == 2
    assert "::error::arguments" in done.stdout
    assert words == []


@pytest.mark.parametrize(
    ("code", "allow", "expected"), [(0, "false", 0), (1, "true", 1), (3, "false", 3), (3, "true", 0), (4, "true", 4)]
)
def test_the_exit_code_is_the_gates(gate, code, allow, expected):
    """Inconclusive passes where that is allowed, nothing else does; the output says what it was."""
    done, _, outputs = gate(code, allow)
    assert done.returncode == expected
    assert outputs == f"exit-code={code}\n"


def test_every_input_is_used_and_none_is_run():
    """Inputs come as variables: no `${{ inputs` stands in a script."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert not [step for step in steps if "${{" in step.get("run", "")]
    used = set(re.findall(r"inputs\.([\w-]+)", str(steps)))
    assert used == set(action["inputs"])
    variables = next(step["env"] for step in steps if step.get("id") == "gate")
    assert set(variables) == {*NAMES, "PYTHON", "ALLOW_INCONCLUSIVE"}


def test_the_workflow_uses_the_action_as_it_is():
    """Bertbench gates itself by its own action, with inputs that there are."""
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "gate.yml").read_text())
    (step,) = [
        step for step in workflow["jobs"]["demo"]["steps"] if str(step.get("uses", "")).startswith("./.github/actions/")
    ]
    known = yaml.safe_load((ACTION / "action.yml").read_text())["inputs"]
    assert set(step["with"]) <= set(known)
