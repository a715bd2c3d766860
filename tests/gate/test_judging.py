"""What a gate says of every kind of change, of nothing measured, and of other machines."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bertbench.gate.baseline import Fingerprints, Saved, Timed, Unmeasured
from bertbench.gate.finding import EXIT_CODES, Margins, verdict_of
from bertbench.gate.judging import GateRequest, against_baseline, against_model, broken_checkpoints
from bertbench.specs.catalog import Catalog
from bertbench.stats import own_metrics
from tests.gate.conftest import LOGS, MODEL, TASK, baseline, checkpoint, predictions, saved
from tests.own_metrics import write

ALL = ("size", "quality", "speed", "memory")


def gate(before, now, kinds=ALL, print_now=None):
    """Findings and the verdict."""
    prints = Fingerprints({(MODEL, TASK): print_now or checkpoint()})
    found = against_baseline(before, now, [MODEL], kinds, Margins(), prints)
    return found, verdict_of(found)


def failing(found):
    """The quantities that fail."""
    return {finding.quantity for finding in found if finding.verdict == "fail"}


def test_no_change_passes(before):
    """The same figures pass in every quantity."""
    found, verdict = gate(before, saved())
    assert verdict == "pass"
    assert {finding.kind for finding in found} == set(ALL)


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [
        ({"counts": {MODEL: {"parameters unique": 67.0, "flops 1x128": 11.0}}}, "parameters unique"),
        ({"counts": {MODEL: {"parameters unique": 66.0}}}, "flops 1x128"),
        ({"weights": {MODEL: {"b.weight": (5,)}}}, "shapes of weights"),
        ({"peak_memory": {"bert": {"1x128": 400e6}, MODEL: {"1x128": 250e6}}}, "peak memory"),
    ],
)
def test_changed_quantity_fails(before, changes, quantity):
    """One count, one weight's shape or a quarter more memory fails, and nothing else does."""
    found, verdict = gate(before, saved(**changes))
    assert (failing(found), verdict) == ({quantity}, "fail")


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [
        ({"labels": ("yes", "no")}, "labels"),
        ({"weights": {"a.weight": (3, 3)}}, "shapes of weights"),
        ({"outputs": (0.5, -0.5, 1.0, 2.01)}, "outputs"),
        ({"outputs": (0.5, 0.5004, 1.0, 2.0), "digest": "e" * 64}, "outputs"),
    ],
)
def test_changed_checkpoint_fails(before, changes, quantity):
    """Another label map, shape, or output of the kept checkpoint fails, and its score is then not worth measuring."""
    now = checkpoint(**changes)
    found, verdict = gate(before, saved(), print_now=now)
    assert (failing(found), verdict) == ({quantity}, "fail")
    assert broken_checkpoints(before, Fingerprints({(MODEL, TASK): now}), Margins())


def test_outputs_may_differ_by_rounding(before):
    """A thousandth is borne as long as the answers are the same."""
    assert gate(before, saved(), print_now=checkpoint(outputs=(0.5005, -0.5, 1.0, 2.0)))[1] == "pass"


def test_new_weights_are_judged_by_their_predictions():
    """A checkpoint that lies elsewhere may be another by now: outputs are then not gated, scores are."""
    score = replace(baseline().scores[0], checkpoint=checkpoint(kept=None))
    before = saved(scores=(score,))
    found, verdict = gate(
        before, saved(), print_now=checkpoint(kept=None, digest="e" * 64, outputs=(9.0, 0.0, 0.0, 9.0))
    )
    assert verdict == "pass"
    assert [finding.quantity for finding in found if finding.verdict == "not gated"] == ["outputs"]


def test_flipped_predictions_fail(before):
    """Five per cent of 5,000 predictions flipped fail in nearly every draw."""
    caught = 0
    for seed in range(20):
        frame = predictions(4750)
        flipped = np.random.default_rng(seed).random(5000) < 0.05
        frame["prediction"] = frame["prediction"].where(~flipped, 1 - frame["prediction"])
        caught += "score" in failing(gate(before, Saved(baseline(), {(MODEL, TASK): frame}), ["quality"])[0])
    assert caught >= 19


def test_retraining_is_said_and_judged_by_its_predictions(before):
    """A model that was trained anew is no stored checkpoint: equal predictions are tested, and the verdict says what it rests on."""
    again = replace(baseline().scores[0], mode="fine-tune", checkpoint=None)
    found, _ = gate(before, saved(scores=(again,)), ["quality"])
    (score,) = [finding for finding in found if finding.quantity == "score"]
    assert score.verdict == "pass"
    assert "trained anew with the same seed" in score.reason


def test_other_examples_are_no_comparison(before):
    """Predictions of other examples never pass: nothing was compared."""
    now = Saved(baseline(), {(MODEL, TASK): predictions(4750).assign(label=1)})
    found, _ = gate(before, now, ["quality"])
    assert [(one.verdict, one.measured) for one in found if one.quantity == "score"] == [("inconclusive", False)]


def test_slower_than_in_another_session_is_inconclusive(before):
    """A stored ratio lacks the noise between sessions: a slow-down is shown to be no pass, but does not fail."""
    slower = (Timed(MODEL, "1x128", "eager fp32", tuple(value + 0.1 for value in LOGS)),)
    found, verdict = gate(before, saved(times=slower), ["speed"])
    assert verdict == "inconclusive"
    assert "--against-model" in found[0].reason


def test_another_machine_says_nothing_about_time(before):
    """Of another environment class all that is timed is inconclusive, and alone it is nothing measured."""
    now = saved(environment_class="elsewhere")
    assert gate(before, now)[1] == "inconclusive"
    assert gate(before, now, ["size", "quality"])[1] == "pass"
    verdict = gate(before, now, ["speed", "memory"])[1]
    assert (verdict, EXIT_CODES[verdict]) == ("nothing measured", 4)


def test_nothing_measured_never_passes(before):
    """Without figures of now, and without any finding, the exit code is 4."""
    empty = Saved(baseline(scores=(), times=(), peak_memory={}), {})
    found = against_baseline(before, empty, [MODEL], ["quality", "speed", "memory"], Margins(), Fingerprints())
    assert verdict_of(found) == "nothing measured"
    assert verdict_of([]) == "nothing measured"


def test_what_breaks_fails_and_what_is_skipped_does_not(before):
    """A model that cannot be measured any more is a regression; one that time ran out for is open."""
    lost = saved(lost=(Unmeasured("quality", MODEL, "broken", failed=True, task=TASK),))
    late = saved(times=(), lost=(Unmeasured("speed", MODEL, "out of time", failed=False),))
    assert gate(before, lost)[1] == "fail"
    assert gate(before, late)[1] == "inconclusive"


def test_an_architecture_that_cannot_be_read_is_no_regression(before):
    """Weights whose shapes are not known now are not measured: inconclusive with the reason, not gone."""
    found, verdict = gate(before, saved(weights={}), ["size"])
    (shapes,) = [one for one in found if one.quantity == "shapes of weights"]
    assert (shapes.verdict, shapes.measured, verdict) == ("inconclusive", False, "inconclusive")
    assert "cannot be read now" in shapes.reason


@pytest.mark.parametrize(("old", "new"), [(None, 0.9), (0.9, None), (None, None)])
def test_undefined_scores_are_inconclusive(old, new):
    """A score without a value before, now or both: not measured, for the metric's reason; alone it is inconclusive, never a failure."""
    before, now = (
        saved(scores=(replace(baseline().scores[0], score=score, undefined=None if score else "r: all are equal"),))
        for score in (old, new)
    )
    found, verdict = gate(before, now, ["quality"])
    (score,) = [one for one in found if one.quantity == "score"]
    assert (score.verdict, score.measured, score.undefined) == ("inconclusive", False, True)
    assert "not measured: " in score.reason
    assert score.reason.endswith("undefined (r: all are equal)")
    assert (verdict, verdict_of([score]), EXIT_CODES[verdict]) == ("inconclusive", "inconclusive", 3)


def test_head_against_base_in_one_job():
    """Ratios of one session may fail: 10 % slower than the base fails, no change passes, fewer right answers fail."""
    scores = tuple(replace(baseline().scores[0], model=model) for model in ("base", "head"))

    def verdicts(shift, right):
        times = (Timed("head", "1x128", "eager fp32", tuple(value + 0.7 + shift for value in LOGS)),)
        memory = {"base": {"1x128": 4e8}, "head": {"1x128": 4e8}}
        new = baseline(reference="base", times=times, peak_memory=memory, scores=scores)
        frames = {("base", TASK): predictions(4750), ("head", TASK): predictions(right)}
        wanted = GateRequest(("quality", "speed", "memory"), [TASK], ["1x128"])
        found = against_model(Saved(new, frames), "base", ["head"], wanted, Margins())
        return {one.quantity: one.verdict for one in found}

    assert verdicts(0.0, 4750) == {"score": "pass", "time": "pass", "peak memory": "pass"}
    assert verdicts(0.1, 4600) == {"score": "fail", "time": "fail", "peak memory": "pass"}


@pytest.mark.parametrize("missing", ["score", "time", "memory", "head"])
def test_what_was_asked_for_and_not_measured_is_open(missing):
    """Against a model nothing passes of which a score, a time or memory is missing, of one head or of several."""
    scores = tuple(replace(baseline().scores[0], model=model) for model in ("base", "head"))
    times = (Timed("head", "1x128", "eager fp32", tuple(value + 0.7 for value in LOGS)),)
    memory = {"base": {"1x128": 4e8}, "head": {"1x128": 4e8}}
    late = (Unmeasured("quality", "head", "skipped: 0.0 s left", failed=False, task=TASK),)
    new = baseline(
        reference="base", scores=() if missing == "score" else scores, times=() if missing == "time" else times,
        peak_memory={} if missing == "memory" else memory, lost=late if missing == "score" else (),
    )  # fmt: skip
    frames = {("base", TASK): predictions(4750), ("head", TASK): predictions(4750)}
    heads = ["head", "other"] if missing == "head" else ["head"]
    wanted = GateRequest(("quality", "speed", "memory"), [TASK], ["1x128"])
    found = against_model(Saved(new, frames), "base", heads, wanted, Margins())
    assert verdict_of(found) == "inconclusive"
    reasons = [one.reason for one in found if one.verdict == "inconclusive"]
    assert len(reasons) == (3 if missing == "head" else 1)
    assert missing != "score" or "0.0 s left" in reasons[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"metrics": ("matthews_correlation",)}, "metrics"),
        ({"split": "test"}, "split"),
        ({"kind": "token-classification"}, "kind of task"),
        ({"data": "b"}, "data have changed"),
    ],
)
def test_another_measure_is_no_comparison(changes, word):
    """Equal predictions of the same weights do not pass where the score means something else now."""
    before = saved(scores=(replace(baseline().scores[0], data="a"),))
    now = saved(scores=(replace(baseline().scores[0], **({"data": "a"} | changes)),))
    found, verdict = gate(before, now, ["quality"])
    (score,) = [one for one in found if one.quantity == "score"]
    assert (score.verdict, score.measured, verdict) == ("inconclusive", False, "inconclusive")
    assert word in score.reason


def test_a_metric_that_is_not_there_is_no_comparison():
    """A score of two metrics is not judged by one of them."""
    scores = (replace(baseline().scores[0], metrics=("accuracy", "gone")),)
    found, verdict = gate(saved(scores=scores), saved(scores=scores), ["quality"])
    (score,) = [one for one in found if one.quantity == "score"]
    assert (score.measured, verdict, score.reason) == (False, "inconclusive", "gone cannot be computed")


@pytest.fixture
def own_gate(tmp_path, monkeypatch):
    """Judges scores of a metric of the user's own, accuracy by other means, of 190 right answers before and `right` of 200 now."""
    monkeypatch.setattr(own_metrics, "_loaded", {})
    body = "return {'balanced': sum(p == r for p, r in zip(predictions, references)) / len(references)}"
    write(tmp_path, body)
    own_metrics.of(Catalog([tmp_path], ["balanced"]).task("mine").own_metrics[0])

    def judge(right, scored_before=0.95):
        sides = []
        for count, value in ((190, scored_before), (right, right / 200)):
            weights = checkpoint(digest=f"{count:064}")
            score = replace(baseline().scores[0], metrics=("balanced",), score=value, n=200, checkpoint=weights)
            sides.append(Saved(baseline(scores=(score,)), {(MODEL, TASK): predictions(count, 200)}))
        found, _ = gate(*sides, ["quality"])
        (finding,) = [one for one in found if one.quantity == "score"]
        return finding

    return judge


@pytest.mark.parametrize(("right", "verdict"), [(190, "pass"), (100, "fail")])
def test_metrics_of_ones_own_are_judged(own_gate, right, verdict):
    """Where the user has allowed its code, a score by it passes and fails as any other."""
    assert (own_gate(right).verdict, own_gate(right).measured) == (verdict, True)


def test_another_code_than_the_baselines_is_no_comparison(own_gate):
    """What the code gives for the stored predictions must be the stored score."""
    finding = own_gate(190, scored_before=0.9)
    assert (finding.verdict, finding.measured) == ("inconclusive", False)
    assert finding.reason == (
        "the code of balanced gives 95.00 now for the baseline's predictions: save the baseline anew"
    )


def test_an_own_metric_that_takes_too_long_fails_nothing(own_gate, monkeypatch):
    """Without resamples nothing is known of a loss, however large; the reason is said."""
    monkeypatch.setattr(own_metrics, "PATIENCE_S", 0.0)
    finding = own_gate(100)
    assert finding.verdict == "inconclusive"
    assert finding.reason.startswith("no interval: 2,000 resamples of balanced would take")


@pytest.mark.parametrize("outputs", [(0.5, math.nan, 1.0, 2.0), (math.inf, -0.5, 1.0, 2.0)])
def test_outputs_that_are_no_numbers_fail(before, outputs):
    """NaN compares with nothing, and does not pass."""
    found, verdict = gate(before, saved(), print_now=checkpoint(outputs=outputs))
    assert (failing(found), verdict) == ({"outputs"}, "fail")


def test_memory_that_is_no_number_fails(before):
    """The same of a peak."""
    now = saved(peak_memory={"bert": {"1x128": 400e6}, MODEL: {"1x128": math.nan}})
    assert failing(gate(before, now)[0]) == {"peak memory"}


@pytest.mark.parametrize(
    ("failed", "verdict", "said"),
    [(True, "inconclusive", "fail"), (False, "not gated", "late"), (None, "inconclusive", "")],
)
def test_a_baseline_that_lost_a_model_says_so(failed, verdict, said):
    """What the baseline has of one model and not of another is in the table: open if it failed or is unexplained."""
    lost = () if failed is None else (Unmeasured("quality", "albert", said, failed=failed, task=TASK),)
    before = saved(models={"bert": {}, MODEL: {}, "albert": {}}, lost=lost)
    prints = Fingerprints({(MODEL, TASK): checkpoint()})
    found = against_baseline(before, saved(), [MODEL, "albert"], ["quality"], Margins(), prints)
    (gap,) = [one for one in found if one.model == "albert"]
    assert (gap.verdict, gap.measured) == (verdict, False)
    assert said in gap.reason
    assert verdict_of(found) == ("pass" if verdict == "not gated" else "inconclusive")


def test_other_threads_say_nothing_about_time(before):
    """Ratios at another number of threads are other ratios."""
    found, verdict = gate(before, saved(options={"threads": 2}), ["speed", "memory"])
    assert verdict == "nothing measured"
    assert "measured with 1 threads, now with 2" in found[0].reason


def test_counts_that_time_ran_out_for_are_open(before):
    """Skipped is not changed."""
    late = Unmeasured("size", MODEL, "no time", failed=False)
    found, verdict = gate(before, saved(counts={}, weights={}, lost=(late,)), ["size"])
    assert verdict == "nothing measured"
    assert "no time" in found[0].reason
