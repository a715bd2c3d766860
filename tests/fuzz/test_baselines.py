"""Baselines of the gate, spoilt as values and as bytes, and judged."""

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.gate.baseline import Fingerprints, read
from bertbench.gate.finding import Margins
from bertbench.gate.judging import against_baseline
from bertbench.gate.saving import write
from tests.fuzz.cases import edits_of_bytes, edits_of_values, fuzzed, spoilt, spoilt_bytes, tried
from tests.gate.conftest import MODEL, TASK, predictions, saved
from tests.gate.conftest import baseline as baseline_of

NOW = saved()
PRINTS = Fingerprints({(MODEL, TASK): NOW.baseline.scores[0].checkpoint})


@pytest.fixture(scope="module")
def kept(yard):
    """A saved baseline: its folder, and what its two files hold."""
    folder = yard.free / "saved"
    before = baseline_of()
    score = before.scores[0].__class__(**(vars(before.scores[0]) | {"n": 40, "checkpoint": None}))
    small = saved().__class__(
        before.__class__(**(vars(before) | {"scores": (score,)})), {(MODEL, TASK): predictions(36, n=40)}
    )
    write(small, folder, {})
    judged(folder)
    return folder, json.loads((folder / "baseline.json").read_text()), (folder / "baseline.parquet").read_bytes()


def judged(folder):
    """The findings of a baseline, with finite figures."""
    for finding in against_baseline(
        read(folder), NOW, [MODEL], ["size", "quality", "speed", "memory"], Margins(), PRINTS
    ):
        if finding.estimate is not None:
            figures = (finding.estimate.value, finding.estimate.low, finding.estimate.high)
            assert all(math.isfinite(figure) for figure in figures if figure is not None)


@fuzzed
@given(edits_of_values)
def test_values_of_baselines(yard, kept, edits):
    """A baseline in which values are others is judged or refused in one line."""
    folder, content, predicted = kept
    (folder / "baseline.parquet").write_bytes(predicted)
    (folder / "baseline.json").write_text(json.dumps(spoilt(content, edits)))
    with yard.case():
        tried(judged, folder)


@fuzzed
@given(edits_of_bytes, st.booleans())
def test_bytes_of_baselines(yard, kept, edits, is_parquet):
    """A baseline whose bytes are others, in the one file or the other, is judged or refused in one line."""
    folder, content, predicted = kept
    text = json.dumps(content).encode()
    if is_parquet:
        predicted = spoilt_bytes(predicted, edits)
        text = json.dumps(content | {"predictions_sha256": hashlib.sha256(predicted).hexdigest()}).encode()
    (folder / "baseline.parquet").write_bytes(predicted)
    (folder / "baseline.json").write_bytes(text if is_parquet else spoilt_bytes(text, edits))
    with yard.case():
        tried(judged, folder)
