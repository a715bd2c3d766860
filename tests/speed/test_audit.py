import json

import numpy as np
import pytest

from bertbench.models.token_ids import Encoded
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.audit import LIMITS, Audit, WorkerAnswers, changed_predictions, error_share, largest_difference
from bertbench.speed.side_by_side import ExecutionSettings, SpeedTarget, measure_speed

ROWS = [Encoded([5, 6, 7]), Encoded([8]), Encoded([9, 5, 6, 7, 8])]


def states(seed=0, lengths=(3, 5, 8, 4), hidden=16):
    """Hidden states of a few rows."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((length, hidden)).astype(np.float32) for length in lengths]


def test_error_share_is_relative_to_the_spread():
    """Equal outputs have none, noise of a tenth has a hundredth, a constant has all of it."""
    theirs = states()
    noisy = [row + 0.1 * other for row, other in zip(theirs, states(1), strict=True)]
    mean = np.concatenate(theirs).mean(axis=0)
    assert error_share(theirs, theirs) == 0
    assert error_share(noisy, theirs) == pytest.approx(0.01, rel=0.2)
    assert error_share([np.broadcast_to(mean, row.shape) for row in theirs], theirs) == pytest.approx(1.0)


def test_a_large_dimension_does_not_hide_an_error():
    """A dimension that is large and always the same, as encoders have, does not make a wrong answer look right."""
    theirs = states()
    ours = states(1)
    for rows in (theirs, ours):
        for row in rows:
            row[:, 0] = 1000.0
    assert error_share(ours, theirs) > 1


def test_broken_outputs_are_infinitely_wrong():
    """Values that are not finite, or of another shape, never pass for right."""
    theirs = states()
    assert error_share([np.full_like(row, np.nan) for row in theirs], theirs) == float("inf")
    assert error_share([row[:1] for row in theirs], theirs) == float("inf")


def test_largest_difference():
    """The largest absolute difference of any single output."""
    theirs = states()
    ours = [row.copy() for row in theirs]
    ours[2][1, 3] += 0.5
    assert largest_difference(ours, theirs) == pytest.approx(0.5, rel=1e-5)


def test_changed_classes():
    """With logits a changed prediction is another class."""
    theirs = [np.array([1.0, 2.0]), np.array([3.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 2.0])]
    ours = [np.array([1.0, 2.5]), np.array([1.0, 3.0]), np.array([0.0, 1.0]), np.array([0.0, 2.0])]
    share, what = changed_predictions(ours, theirs)
    assert share == 0.25
    assert "class" in what


def test_changed_neighbours():
    """Without a head a prediction is the nearest other example; equal states change none, unrelated ones most."""
    theirs = states(lengths=[6] * 30)
    assert changed_predictions(theirs, theirs)[0] == 0
    share, what = changed_predictions(states(1, lengths=[6] * 30), theirs)
    assert share > 0.5
    assert "nearest" in what


def target(folder, name, *, model="m", dtype="fp32", **config):
    """A fake model in a folder."""
    path = folder / name
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "fake"} | config))
    return SpeedTarget(name, path, ExecutionSettings(backend="fake", dtype=dtype), model)


TIMING = TimingSpec(rounds=2, turns=1, passes=1, min_turn_s=0, warmup_passes=1, shapes=(ShapeSpec(sequence_length=6),))


def audited(folder, **config):
    """The audit of a target against an exact one, both timed."""
    targets = [target(folder, "plain"), target(folder, "fast", **config)]
    audit = Audit(targets, {"m": ROWS})
    measure_speed(targets, "plain", TIMING, session_id="s", inspect=[audit.collect])
    return audit


def test_right_answers_pass(tmp_path):
    """Equal outputs give an error of 0 for the timed passes and for the audited rows, and no failure."""
    finding = audited(tmp_path).judge("fast", "plain")
    assert finding.failure is None
    values = {(found.quantity, found.statistic): found.values[0] for found in finding.measurements}
    assert values["output_error", "audited"] == 0
    assert values["output_error", "timed"] == 0
    assert values["changed_predictions", "value"] == 0


def test_fast_and_wrong_fails(tmp_path):
    """Outputs that rounding does not explain are a failure that says how wrong they are."""
    failure = audited(tmp_path, output_error=0.5).judge("fast", "plain").failure
    assert failure.kind == "WrongOutput"
    assert "fast: wrong answers" in failure.message
    assert "speed is not reported" in failure.hint


def test_limits_depend_on_the_format():
    """What int8 may do is wrong in fp32."""
    assert LIMITS["fp32"] < LIMITS["fp16"] <= LIMITS["bf16"] < LIMITS["int8"] < 1


@pytest.mark.parametrize(
    ("backend", "share", "explanation"),
    [
        ("onnxruntime", 1e-5, "fp32 explains 1e-06 at most"),
        ("onnxruntime-fused", 1e-5, None),
        ("onnxruntime-fused", 1e-3, "GELU approximated by tanh explains 0.0001 at most"),
    ],
)
def test_an_approximation_is_told_from_a_mistake(tmp_path, backend, share, explanation):
    """A back-end that approximates by its definition may differ by more than rounding, and by no more than that explains."""
    settings = ExecutionSettings(backend=backend, dtype="fp32")
    targets = [SpeedTarget("fast", tmp_path, settings, "m"), SpeedTarget("plain", tmp_path, ExecutionSettings(), "m")]
    audit = Audit(targets, {"m": ROWS})
    theirs = states()
    noise = np.sqrt(share) * np.concatenate(theirs).std()
    ours = [row + noise * other for row, other in zip(theirs, states(1), strict=True)]
    audit.outputs = {"fast": WorkerAnswers(None, ours), "plain": WorkerAnswers(None, theirs)}
    failure = audit.judge("fast", "plain").failure
    assert (failure is None) if explanation is None else (explanation in failure.message)


def test_the_reference_is_run_where_it_was_not_timed(tmp_path):
    """Without a timed PyTorch run the model is run so afterwards, on the timed input and on the audited rows."""
    fast = target(tmp_path, "fast")
    plain = target(tmp_path, "plain")
    audit = Audit([fast], {"m": ROWS})
    measure_speed([fast], "fast", TIMING, session_id="s", inspect=[audit.collect])
    audit.add_references(TIMING.shapes, {"m": plain})
    finding = audit.judge("fast", "plain")
    assert {found.statistic for found in finding.measurements if found.quantity == "output_error"} == {
        "audited",
        "timed",
    }


def test_nothing_to_judge():
    """A target that gave no outputs has no finding: its timing says why."""
    audit = Audit([], {})
    assert audit.judge("a", "b") is None


def test_score_of_logits():
    """With logits and a task's score the score of the back-end is among the figures."""
    targets = [
        SpeedTarget("plain", None, ExecutionSettings(), "m"),
        SpeedTarget("fast", None, ExecutionSettings(), "m"),
    ]
    audit = Audit(targets, {"m": ROWS})
    logits = [np.array([0.0, 1.0], dtype=np.float32), np.array([1.0, 0.0], dtype=np.float32)]
    audit.outputs = {"plain": WorkerAnswers(None, logits), "fast": WorkerAnswers(None, logits)}
    finding = audit.judge("fast", "plain", score=lambda _, values: float((values.argmax(axis=1) == 1).mean()))
    assert next(found.values for found in finding.measurements if found.quantity == "score") == (0.5,)


@pytest.mark.parametrize("broken", [np.float32("nan"), np.float32("inf")])
def test_outputs_that_are_no_numbers_fail(broken):
    """An overflow in fp16, say, is a failure without figures, not a crash; so are outputs of another shape."""
    audit = Audit([SpeedTarget("fast", None, ExecutionSettings(dtype="fp16"), "m")], {"m": ROWS})
    rows = states()
    for wrong in ([row * broken for row in rows], [row[:, :3] for row in rows]):
        audit.outputs = {"plain": WorkerAnswers(None, rows), "fast": WorkerAnswers(None, wrong)}
        finding = audit.judge("fast", "plain")
        assert finding.failure.kind == "WrongOutput"
        assert "not finite, or of another shape" in finding.failure.message
        assert finding.measurements == ()


def test_no_rows_no_finding():
    """A model whose answers could not be looked at is not judged."""
    audit = Audit([SpeedTarget("fast", None, ExecutionSettings(), "m")], {"m": []})
    audit.outputs = {"plain": WorkerAnswers(None, []), "fast": WorkerAnswers(None, [])}
    assert audit.judge("fast", "plain") is None
