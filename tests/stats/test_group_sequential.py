"""Verdicts from round log-ratios: three outcomes, looks, Holm, baselines of another session; errors by simulation."""

import math

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit

from bertbench.stats import group_sequential
from bertbench.stats.group_sequential import ALPHA, LOOKS, STUDENT, decide, levels_of_looks, spent

MARGIN = math.log(1.05)


def session(rng, means, noise, **options):
    """The verdicts of a session that stops as the real one does: at the first look where all is decided."""
    rounds = {name: rng.normal(mean, noise, LOOKS[-1]).tolist() for name, mean in means.items()}
    margins = dict.fromkeys(means, MARGIN)
    for look in LOOKS:
        found = decide({name: of[:look] for name, of in rounds.items()}, margins, ended=look == LOOKS[-1], **options)
        if all(one.verdict != "inconclusive" for one in found.values()):
            break
    return decide({name: of[:look] for name, of in rounds.items()}, margins, **options)


def shares(means, noise, sessions=300, seed=0):
    """How often sessions fail, and how often all their quantities pass."""
    rng = np.random.default_rng(seed)
    found = [[one.verdict for one in session(rng, means, noise).values()] for _ in range(sessions)]
    return sum("fail" in one for one in found) / sessions, sum(set(one) == {"pass"} for one in found) / sessions


def test_clear_cases_are_decided_at_the_first_look():
    """Five quiet rounds pass what has not changed and fail what is far beyond the margin."""
    quiet, slow = [0.001, -0.002, 0.0, 0.002, -0.001], [0.15, 0.149, 0.151, 0.15, 0.15]
    found = decide({"quiet": quiet, "slow": slow}, dict.fromkeys(("quiet", "slow"), MARGIN), ended=False)
    assert {name: one.verdict for name, one in found.items()} == {"quiet": "pass", "slow": "fail"}


def test_too_few_rounds_never_pass():
    """Nothing is decided before the first look, however quiet, and the number of rounds needed is told."""
    for values in ([], [0.0], [0.0] * 4):
        found = decide({"a": values}, {"a": MARGIN})["a"]
        assert (found.verdict, found.needed) == ("inconclusive", LOOKS[0])


def test_what_lies_on_the_margin_is_inconclusive():
    """Neither is shown of values around the margin; nothing that varies not at all is a proof on it."""
    found = decide({"a": [MARGIN + one for one in (-0.02, 0.02, -0.01, 0.01, 0.0)]}, {"a": MARGIN})["a"]
    assert found.verdict == "inconclusive"
    assert found.low < MARGIN < found.high
    assert decide({"a": [MARGIN] * 5}, {"a": MARGIN})["a"].verdict == "inconclusive"


def test_what_never_varies_shows_nothing():
    """Rounds that are equal to the last digit, or no numbers, come from no clock: neither pass nor fail."""
    for values in ([0.0] * 5, [0.5] * 16, [0.0, 0.01, math.nan, 0.0, 0.01], [math.inf] * 5):
        assert decide({"a": values}, {"a": MARGIN})["a"].verdict == "inconclusive"


def test_early_looks_are_stricter_while_more_may_come():
    """What decides at the end of a session of five rounds need not decide where eleven more may follow."""
    values = [0.0, 0.04, 0.02, -0.01, 0.05]
    assert decide({"a": values}, {"a": MARGIN}, ended=True)["a"].verdict == "pass"
    assert decide({"a": values}, {"a": MARGIN}, ended=False)["a"].verdict == "inconclusive"


def test_any_number_of_rounds_is_decided():
    """Whether more rounds may come or not, from the first to beyond the last look."""
    values = np.random.default_rng(0).normal(0, 0.02, 40).tolist()
    for rounds in range(1, 40):
        for ended in (True, False):
            found = decide({"a": values[:rounds], "b": values[:rounds]}, dict.fromkeys("ab", MARGIN), ended=ended)
            assert found["a"].rounds == rounds
            assert found["a"].verdict in (["inconclusive"] if rounds < LOOKS[0] else ["inconclusive", "pass"])
            assert rounds < LOOKS[-1] or found["a"].verdict == "pass"


def test_failing_is_corrected_for_the_number_of_quantities():
    """A slow-down that fails alone is open among twenty quantities; Holm lets it fail if the others failed before."""
    slow = [0.06, 0.09, 0.07, 0.1, 0.05]
    worse, fine = [0.3, 0.301, 0.299, 0.3, 0.3], [0.0, 0.001, -0.001, 0.0, 0.0]

    def verdict(others):
        series = {"slow": slow} | {f"other {index}": others for index in range(19)}
        return decide(series, dict.fromkeys(series, MARGIN))["slow"].verdict

    assert decide({"slow": slow}, {"slow": MARGIN})["slow"].verdict == "fail"
    assert verdict(fine) == "inconclusive"
    assert verdict(worse) == "fail"


def test_against_a_baseline_its_own_noise_counts():
    """A ratio is compared with that of the baseline's rounds; where these are noisy nothing is shown."""
    now = [0.501, 0.499, 0.5, 0.502, 0.498]
    calm, noisy = [0.5, 0.501, 0.499, 0.5, 0.5], [0.3, 0.7, 0.5, 0.6, 0.4]
    assert decide({"a": now}, {"a": MARGIN}, {"a": calm})["a"].verdict == "pass"
    assert decide({"a": now}, {"a": MARGIN}, {"a": noisy})["a"].verdict == "inconclusive"


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_errors_at_the_margin_and_without_change(noise):
    """At the margin each error is at most 5 %, without a change 90 % pass and 1 % fail: 300 sessions, their chance allowed."""
    failed, passed = shares({"a": MARGIN}, noise)
    allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 300)
    assert failed <= allowed
    assert passed <= allowed
    failed, passed = shares({"a": 0.0, "b": 0.0}, 0.6 * noise)
    assert failed <= 0.01
    assert passed >= 0.90


def test_rounds_needed():
    """Twice the distance takes a quarter of the rounds; no distance has no answer."""
    assert group_sequential.rounds_needed(0.05, 0.01) == pytest.approx(
        4 * group_sequential.rounds_needed(0.05, 0.02), abs=4
    )
    assert group_sequential.rounds_needed(0.05, 0.0) is None


# Levels of looks: what they spend together, against published boundaries and by simulation with Student's tests.

SPENT_LOOKS = (5, 8, 12, 16)


def test_equal_looks_have_the_published_boundaries():
    """Five equal looks, one-sided 2.5 %: z of 4.877, 3.357, 2.680, 2.290, 2.031 (Jennison & Turnbull 2000, section 7.2)."""
    found = levels_of_looks((1, 2, 3, 4, 5), 5, 0.025 / STUDENT)
    assert [-ndtri(level) for level in found] == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.002)


def test_a_single_look_spends_all():
    """One look is a plain test."""
    assert levels_of_looks((5,), 16, 0.05) == pytest.approx([0.05 * STUDENT])
    assert spent(1.0, 0.05) == pytest.approx(0.05)
    assert spent(0.3, 0.05) < 0.001


@pytest.mark.parametrize("looks", [SPENT_LOOKS, (5, 8, 10), (5, 6)])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_students_tests_err_as_often_as_asked(looks, alpha):
    """Of 100,000 series of normal values the looks together reject alpha of them, not more, and hardly less."""
    values = np.random.default_rng(0).normal(size=(100_000, looks[-1]))
    rejected = np.zeros(len(values), dtype=bool)
    for look, level in zip(looks, levels_of_looks(looks, SPENT_LOOKS[-1], alpha), strict=True):
        part = values[:, :look]
        rejected |= part.mean(axis=1) / part.std(axis=1, ddof=1) * look**0.5 > stdtrit(look - 1, 1 - level)
    chance = 3 * (alpha / len(values)) ** 0.5
    assert 0.93 * alpha - chance <= rejected.mean() <= alpha + chance


def test_beyond_the_last_planned_look_nothing_is_left():
    """Rounds that come after all was spent decide nothing more, and change no earlier level."""
    assert levels_of_looks((*SPENT_LOOKS, 17), 16, 0.05) == pytest.approx(
        (*levels_of_looks(SPENT_LOOKS, 16, 0.05), 0.0)
    )


def test_an_error_that_is_divided_keeps_its_order():
    """Stricter errors have stricter levels at every look, and later looks looser ones."""
    wide, narrow = levels_of_looks(SPENT_LOOKS, 16, 0.05), levels_of_looks(SPENT_LOOKS, 16, 0.05 / 20)
    assert all(strict < loose for strict, loose in zip(narrow, wide, strict=True))
    assert sorted(wide) == list(wide)
