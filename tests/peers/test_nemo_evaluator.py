"""NeMo Evaluator's `nel compare` on predictions that bertbench stored: the same test, and an effect by another formula."""

import json
import math
import os

import pytest

from bertbench.stats.intervals import detectable_difference, mcnemar
from tests.peers import nemo_format
from tests.peers.environments import LIMIT_S, THREADS, Environment, python_of

pytestmark = [pytest.mark.peers, pytest.mark.timeout(LIMIT_S)]

ROUNDED = 5e-7  # it writes six digits
FACTOR = 2.8  # its z(97.5 %) + z(80 %)
MODELS = ("bert-mini", "distilbert-mini")


@pytest.fixture
def nel():
    """The environment that has the command."""
    return Environment(python_of("nemo-evaluator"), dict(os.environ))


@pytest.fixture
def predictions(nel, bench, tmp_path):
    """The files of two demo models' predictions on the same examples."""
    results = tmp_path / "results"
    words = ("--task", "demo-sentiment", "--models", ",".join(MODELS), "--suite", "demo", "--only", "quality")
    words += ("--train-samples", "1000", "--epochs", "2", "--eval-samples", "1000", "--threads", THREADS)
    done = bench("run", *words, "--results-dir", results, timeout=LIMIT_S)
    assert done.code == 0, done.stderr
    return [next(results.rglob(f"predictions-{model}-*.parquet")) for model in MODELS]


def compare(environment, base, candidate, cwd):
    """The report of `nel compare` as JSON."""
    command = environment.python.with_name("nel")
    words = ("compare", base, candidate, "--format", "json", "--no-report", "--no-strict")
    return json.loads(environment.run(command, *words, cwd=cwd))


def test_test_and_smallest_effect_agree(nel, predictions, tmp_path, note):
    """Its one-sided p in both directions makes our two-sided one; its smallest effect, of discordant pairs, ours of examples."""
    folders = [tmp_path / model for model in MODELS]
    right = [
        nemo_format.write(file, folder, name=folder.name, benchmark="demo-sentiment")
        for file, folder in zip(predictions, folders, strict=True)
    ]
    reports = [compare(nel, *pair, tmp_path) for pair in (folders, folders[::-1])]
    one_sided = [report["mcnemar"]["p_value"] for report in reports]
    discordant, count = int((right[0] != right[1]).sum()), len(right[0])
    assert [report["mcnemar"]["n_discordant"] for report in reports] == [discordant] * 2
    assert mcnemar(*right) == pytest.approx(min(1.0, 2 * min(one_sided)), abs=2 * ROUNDED)
    theirs = FACTOR / math.sqrt(discordant)
    for report in reports:
        if report["verdict"] == "INCONCLUSIVE":
            assert f"~{100 * theirs:.1f}% regression at 80% power" in " ".join(report["verdict_reasons"])
    ours = detectable_difference(discordant / count, count)
    assert ours == pytest.approx(theirs * discordant / count, rel=0.01)
    note(f"nel compare, {count} examples, {discordant} discordant: one-sided p {one_sided}, ours {mcnemar(*right):.6f}")
    note(
        f"  smallest effect {theirs:.4f} of discordant pairs, which is {theirs * discordant / count:.4f} of examples; ours {ours:.4f}"
    )
