"""Facts on intervals and caveats become the words of columns, which other programs read."""

from dataclasses import replace

import pytest

from bertbench.report.caveats import (
    NoShare,
    RandomWeights,
    Stale,
    TasksLeftOut,
    TooFewSamples,
    TrainingCapped,
    TriedLive,
    remarks,
)
from bertbench.report.row import HEADER, Row, columns, method_text
from bertbench.stats.estimate import Method, MethodKind, Replications, Scope, SeedsTaken

ROUNDS = Method(MethodKind.STUDENT, (5,), "rounds", Replications.ROUND_LOG_RATIOS)
BOOTSTRAP = Method(MethodKind.BAYESIAN_BOOTSTRAP, unit="examples", draws=2000)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Method(MethodKind.STUDENT, (3,), "seeds"), "t-interval over 3 seeds"),
        (replace(ROUNDS, values=Replications.LOGARITHMS), "t-interval over 5 rounds, of logarithms"),
        (ROUNDS, "t-interval over 5 rounds of the median paired log-ratio"),
        (
            replace(ROUNDS, stopped=True),
            "t-interval over 5 rounds of the median paired log-ratio, corrected for stopping at a precision",
        ),
        (
            replace(ROUNDS, narrowed=True),
            "t-interval over 5 rounds of the median paired log-ratio, narrowed to 90% for two one-sided tests",
        ),
        (
            Method(MethodKind.STUDENT, (3,), "seeds", Replications.SEED_LOG_RATIOS),
            "t-interval over 3 seeds, of log-ratios paired by seed",
        ),
        (Method(MethodKind.STUDENT, (8,), "rounds", level=0.9), "90% t-interval over 8 rounds"),
        (Method(MethodKind.WELCH, (8,), "rounds", level=0.9), "90% Welch-interval over 8 rounds"),
        (
            Method(MethodKind.WELCH, (4, 5), "rounds", Replications.LOG_RATIOS_TO_REFERENCE),
            "Welch interval over 4 and 5 rounds, each paired with the reference",
        ),
        (Method(MethodKind.JEFFREYS, unit="examples"), "Jeffreys interval over examples"),
        (
            Method(MethodKind.CHI_SQUARE, (18,), "rounds", Replications.ROUND_LOG_RATIOS),
            "chi-square interval over 18 rounds of the median paired log-ratio",
        ),
        (BOOTSTRAP, "Bayesian bootstrap over examples (2,000 draws)"),
        (
            replace(BOOTSTRAP, paired=True, seeds=SeedsTaken.OF_ONE_MODEL),
            "Student's t over one model's seeds and paired Bayesian bootstrap over examples (2,000 draws)",
        ),
        (
            replace(BOOTSTRAP, unit="each task's examples", seeds=SeedsTaken.OF_ALL_MODELS, over_tasks=True),
            "Student's t over seeds and Bayesian bootstrap over each task's examples (2,000 draws), mean over tasks",
        ),
        (Method(MethodKind.EXACT_TEST), "exact test of paired proportions, 90% Wald interval"),
        (Method(MethodKind.COUNT), "an exact count"),
        (Method(MethodKind.SINGLE_READING, margin=0.05), "a single reading, +-5%"),
        (Method(MethodKind.SINGLE_READINGS), "single readings"),
    ],
)
def test_methods_in_words(method, text):
    """Every way in which an interval comes about is said as it always was."""
    assert method_text(method) == text


def test_the_ratios_method_is_named_where_it_is_another():
    """One text where value and ratio came about alike, both where they did not, and the one there is."""
    value = Method(MethodKind.JEFFREYS, unit="examples")
    both = columns(Row(method=value, ratio_method=BOOTSTRAP, scope=Scope.CHECKPOINT, ratio_scope=Scope.METHOD))
    assert (
        both["interval_method"]
        == "Jeffreys interval over examples; ratio: Bayesian bootstrap over examples (2,000 draws)"
    )
    assert both["interval_scope"] == "this checkpoint; ratio: method"
    alike = columns(Row(method=value, ratio_method=value, scope=Scope.METHOD, ratio_scope=Scope.METHOD))
    assert (alike["interval_method"], alike["interval_scope"]) == ("Jeffreys interval over examples", "method")
    assert columns(Row(ratio_method=value))["interval_method"] == "Jeffreys interval over examples"


def test_caveats_in_words():
    """The note holds all caveats in their order, as it always said them."""
    caveats = (
        RandomWeights(), TrainingCapped(3000), TrainingCapped(None), TasksLeftOut(("cola", "rte")), NoShare("bert has no score on cola"),
        TooFewSamples("p90", 64, "passes", 30), TriedLive("MISSED live with 110 ms", held_bound=False), Stale("older"), *remarks("chance 40.0", None, ""),
    )  # fmt: skip
    assert columns(Row(caveats=caveats))["note"] == (
        "random weights; training capped: 3,000 samples; training capped; without cola, rte; no share: bert has no score on cola; "
        "a p90 needs 64 timed passes, there are 30; MISSED live with 110 ms; stale: older; chance 40.0"
    )


def test_columns_are_those_of_the_header():
    """Their order is the header's; runs are told apart by blanks, and what is absent is None."""
    made = columns(Row(model="bert", run_ids=("a", "b"), value=0.5))
    assert tuple(made) == HEADER
    assert (made["model"], made["run_ids"], made["value"]) == ("bert", "a b", 0.5)
    assert {made[name] for name in HEADER if name not in {"model", "run_ids", "value"}} == {None}
