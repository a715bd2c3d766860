"""Run files and gate policies, spoilt as values and as bytes, and the command lines that strangers' sessions are said to have."""

import inspect
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bertbench import cli
from bertbench.commands import _run_file as run_file
from bertbench.gate.policy import read_policy
from bertbench.records.store import Store
from tests.factories import session_record
from tests.fuzz.cases import (
    EVIL,
    edits_of_bytes,
    edits_of_values,
    fuzzed,
    is_yaml,
    run,
    spoilt,
    spoilt_bytes,
    tried,
    yaml_text,
)

STUDIES = {
    "run": {"command": "run", "task": ["sst2", "mrpc"], "models": ["bert", "distilbert"], "seeds": 3, "learning-rate": 2e-5, "full": True},
    "speed": {"command": "speed", "models": "bert,albert", "batch-sizes": [1, 8], "sequence-lengths": [128], "backends": "eager"},
    "distill": {"command": "distill", "teacher": "bert", "task": "sst2", "student-layers": 3, "alpha-soft": 0.5},
}  # fmt: skip
POLICY = {
    "critical": [{"quantity": "score", "task": "sst2", "margin": 0.99}, {"quantity": "time", "margin": 1.05}],
    "advisory": [{"quantity": "memory"}],
    "others": "none",
    "waivers": [{"quantity": "score", "task": "sst2", "reason": "known", "expires": "2030-01-01"}],
}
OPTIONS = {name: list(inspect.signature(cli.function_of(name), eval_str=True).parameters.values()) for name in STUDIES}
WORDS = (
    "run", "compare", "speed", "show", "--help", "--version", "--file", "/dev/zero", "/etc/passwd", "-", "--", "--task", "sst2",
    "--models", "all", "--seeds", "-1", "nan", "", "--no-full", "--full", "--full=x", "--install-completion", "--results-dir", EVIL,
    "x" * 5000,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(yard):
    """Reads a run file of these bytes."""

    def read(command, content):
        path = yard.free / "study.yaml"
        path.write_bytes(content)
        with yard.case():
            tried(run_file.read, path, command, OPTIONS[command])

    return read


@pytest.fixture(scope="module")
def policy(yard):
    """Reads a gate's policy of these bytes."""

    def read(content):
        path = yard.free / "gate.yaml"
        path.write_bytes(content)
        with yard.case():
            tried(read_policy, path)

    return read


@fuzzed
@given(st.sampled_from(sorted(STUDIES)), edits_of_values)
def test_values_of_run_files(study, command, edits):
    """A run file in which values are others is taken or refused in one line."""
    values = spoilt(STUDIES[command], edits)
    if is_yaml(values):
        study(command, yaml_text(values).encode())


@fuzzed
@given(st.sampled_from(sorted(STUDIES)), edits_of_bytes)
def test_text_of_run_files(study, command, edits):
    """A run file whose text is spoilt is taken or refused in one line."""
    study(command, spoilt_bytes(yaml_text(STUDIES[command]).encode(), edits))


@fuzzed
@given(edits_of_values)
def test_values_of_policies(policy, edits):
    """A policy in which values are others is taken or refused in one line."""
    values = spoilt(POLICY, edits)
    if is_yaml(values):
        policy(yaml_text(values).encode())


@fuzzed
@given(edits_of_bytes)
def test_text_of_policies(policy, edits):
    """A policy whose text is spoilt is taken or refused in one line."""
    policy(spoilt_bytes(yaml_text(POLICY).encode(), edits))


@fuzzed
@given(
    st.lists(
        st.one_of(st.sampled_from(WORDS), st.text(max_size=8).filter(lambda text: "\ud800" not in text)), max_size=6
    )
)
def test_command_lines_of_strangers(yard, words):
    """What a session says it was called by is written as a file or refused in one line; nothing of it is done."""
    store = Store(yard.free / "stranger")
    store.write_session(replace(session_record(), argv=tuple(words)))
    with yard.case():
        run("show", session_record().session_id, "--as-file", "--results-dir", store.root)


def test_what_is_not_spoilt_is_taken(study, policy, yard):
    """The targets begin with what is right."""
    for command, values in STUDIES.items():
        path = yard.free / "right.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        assert run_file.read(path, command, OPTIONS[command])
    path.write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    assert read_policy(path)
