"""Advice within limits: which candidate is taken, which are open, which miss, and why."""

from dataclasses import replace

import pytest

from bertbench.report.caveats import RandomWeights, SampleOnly
from bertbench.report.compare.advice import Axis, Candidate, Fit, Limits, advise, candidates_of, tasks_of
from bertbench.report.row import Row
from bertbench.report.tables.advice import Inquiry, build_advice, costs_of, headline
from bertbench.stats.estimate import Estimate


def candidate(model, latency=None, score=None, size=None, memory=None, way=("eager", "fp32")):
    """A candidate; figures are numbers, or (value, low, high)."""
    given = {Axis.LATENCY: latency, Axis.SCORE: score, Axis.SIZE: size, Axis.MEMORY: memory}
    figures = {
        axis: Estimate(*figure) if isinstance(figure, tuple) else Estimate(figure)
        for axis, figure in given.items()
        if figure is not None
    }
    return Candidate(model, *way, figures)


FAST = candidate("fast", (0.05, 0.045, 0.055), (0.90, 0.89, 0.91), 200e6)
GOOD = candidate("good", (0.10, 0.095, 0.105), (0.93, 0.92, 0.94), 400e6)
SMALL = candidate("small", (0.12, 0.115, 0.125), (0.925, 0.915, 0.935), 40e6)


@pytest.mark.parametrize(("bound", "fit"), [(0.06, Fit.MET), (0.055, Fit.MET), (0.05, Fit.OPEN), (0.044, Fit.MISSED)])
def test_a_limit_is_judged_by_the_whole_interval(bound, fit):
    """Met if the whole interval is within the limit, missed if it is beyond, else open."""
    assert FAST.fit(Axis.LATENCY, bound) is fit


@pytest.mark.parametrize(("bound", "fit"), [(0.89, Fit.MET), (0.9, Fit.OPEN), (0.92, Fit.MISSED)])
def test_a_score_has_a_lower_limit(bound, fit):
    """Of scores more is better."""
    assert FAST.fit(Axis.SCORE, bound) is fit


def test_what_is_not_measured_is_unknown():
    """A missing figure neither meets nor misses a limit."""
    assert FAST.fit(Axis.MEMORY, 1e9) is Fit.UNKNOWN


def test_the_best_score_within_the_limits_is_taken():
    """With a limit on time the score decides; equals are decided by latency."""
    advice = advise([FAST, GOOD, SMALL], Limits({Axis.LATENCY: 0.2}))
    assert advice.taken is GOOD
    assert advice.equals == (SMALL,)
    assert advice.fitting == (GOOD, SMALL, FAST)


def test_the_fastest_is_taken_where_only_a_score_is_asked_for():
    """With nothing but a least score, time decides."""
    advice = advise([FAST, GOOD, SMALL], Limits({Axis.SCORE: 0.88}))
    assert advice.taken is FAST
    assert advise([FAST, GOOD, SMALL], Limits({Axis.SCORE: 0.913})).taken is GOOD


def test_a_preference_decides():
    """--prefer puts another quantity first."""
    assert advise([FAST, GOOD, SMALL], Limits({Axis.LATENCY: 0.2}, Axis.SIZE)).taken is SMALL


def test_what_misses_one_limit_is_out():
    """Every limit counts, and what misses is told apart from what is open."""
    limits = Limits({Axis.LATENCY: 0.102, Axis.SIZE: 300e6})
    advice = advise([FAST, GOOD, SMALL, candidate("new", (0.1, 0.099, 0.12), size=1e6)], limits)
    assert advice.taken is FAST
    assert [each.model for each in advice.open] == ["new"]
    assert [each.model for each in advice.missing] == ["good", "small"]


def test_nobody_is_taken_by_a_figure_that_is_missing():
    """A candidate whose deciding figure is not known is open, however well it meets the limits."""
    advice = advise([candidate("unknown", 0.01)], Limits({Axis.LATENCY: 0.1}))
    assert advice.taken is None
    assert [each.model for each in advice.open] == ["unknown"]


def row(model, quantity, value, statistic="value", **fields):
    """A row of a session."""
    return Row(model=model, quantity=quantity, value=value, statistic=statistic, session_id="s", **fields)


WAY = {"backend": "eager", "dtype": "fp32"}
SHAPE = {"batch_size": 1, "sequence_length": 128}


def test_candidates_are_models_as_they_were_run():
    """Each back-end is a candidate with its own time; size and score are the model's; the newest session counts."""
    old = [row("a", "latency", 0.2, "median", low=0.19, high=0.21, **WAY, **SHAPE), row("a", "parameter_bytes", 4e8)]
    new = [
        row("a", "latency", 0.1, "median", low=0.09, high=0.11, **WAY, **SHAPE),
        row("a", "latency", 0.05, "median", backend="openvino", dtype="fp32", **SHAPE),
        row("a", "latency", 0.9, "median", **WAY, batch_size=8, sequence_length=128),
        row("a", "score", 0.9, "mean", task="sst2", **WAY),
        row("b", "parameter_bytes", 1e8),
    ]
    plain, fast, untimed = candidates_of([new, old], task="sst2", **SHAPE)
    assert (plain.figures[Axis.LATENCY].value, plain.figures[Axis.SIZE].value) == (0.1, 4e8)
    assert (fast.backend, fast.figures[Axis.LATENCY].value, fast.figures[Axis.SCORE].value) == ("openvino", 0.05, 0.9)
    assert untimed.model == "b"
    assert Axis.LATENCY not in untimed.figures
    assert tasks_of([new, old]) == ["sst2"]
    assert Axis.SCORE not in candidates_of([new], task=None, **SHAPE)[0].figures


def test_memory_is_a_reading_with_a_margin():
    """A single reading within 5 % of the limit does not settle it."""
    (only,) = candidates_of([[row("a", "peak_memory", 1e9, "peak", **WAY, **SHAPE)]], task=None, **SHAPE)
    assert [only.fit(Axis.MEMORY, bound) for bound in (1.06e9, 1.02e9, 0.94e9)] == [Fit.MET, Fit.OPEN, Fit.MISSED]


INQUIRY = Inquiry(Limits({Axis.LATENCY: 0.2}), 1, 128, "sst2", " --results-dir there")


def report(candidates, inquiry=INQUIRY):
    """The report on some candidates."""
    return build_advice(advise(candidates, inquiry.limits), inquiry, ["figures: session s"])


def test_the_report_says_what_to_take_and_what_others_cost():
    """The title is the answer; each alternative says what it costs and saves where that is told apart."""
    made = report([FAST, GOOD, SMALL])
    assert made.title == "Take good: the best in score within latency 200 ms"
    verdicts = {cells[0]: cells[-1] for cells in made.tables[0].rows}
    assert verdicts == {
        "good": "take this",
        "small": "fits: 1.20x slower, 10.0x smaller",
        "fast": "fits: 3.0 points lower, 2.00x faster, 2.00x smaller",
    }
    assert "in score not told apart from small: latency, then memory, then size decide" in made.tables[0].notes


def test_the_report_says_what_would_settle_it():
    """What is open or unknown comes with the command that measures it."""
    close = candidate("close", (0.2, 0.18, 0.22), 0.9)
    made = report([close, candidate("bare", size=1e6)])
    assert made.title == "Undecided: nothing is known to stay within latency 200 ms; close and bare may"
    notes = "\n".join(made.tables[0].notes)
    speed = "--results-dir there --batch-sizes 1 --sequence-lengths 128"
    assert f"not known: latency of bare: bertbench speed --models bare {speed}" in notes
    assert f"too close to tell: bertbench speed --models close {speed} --rounds 30" in notes
    assert "not known: score of bare: bertbench run --task sst2 --models bare --results-dir there" in notes


def test_the_report_says_that_nothing_fits():
    """Where all miss a limit the title says so, and each says which."""
    inquiry = Inquiry(Limits({Axis.SIZE: 1e6}), 1, 128, None)
    made = report([FAST, SMALL], inquiry)
    assert made.title == "None of what was measured stays within size 1.0 MB"
    assert [cells[-1] for cells in made.tables[0].rows] == ["no: size 200.0 MB", "no: size 40.0 MB"]


def test_back_ends_are_named():
    """A candidate on another back-end is named with it, and whose scores these are is told."""
    quick = candidate("a", 0.01, 0.9, way=("openvino", "fp32"))
    assert headline(advise([quick], INQUIRY.limits), INQUIRY.limits).startswith("Take a (openvino fp32)")
    assert any("PyTorch in fp32" in note for note in report([quick]).tables[0].notes)


def test_costs_leave_out_what_is_not_told_apart():
    """Overlapping intervals are no difference."""
    other = candidate("other", (0.052, 0.047, 0.057), (0.895, 0.885, 0.905), 200e6)
    assert list(costs_of(other, FAST, INQUIRY.limits.order)) == []


def test_memory_counts_at_the_shape_asked_for():
    """What a model needs for one input says nothing about eight."""
    (only,) = candidates_of(
        [[row("a", "peak_memory", 1e9, "peak", **WAY, **SHAPE)]], task=None, batch_size=8, sequence_length=128
    ) or [candidate("none")]
    assert only.fit(Axis.MEMORY, 2e9) is Fit.UNKNOWN


def test_times_with_other_threads_do_not_count():
    """A time with one thread is not compared with the newest, which has two."""
    new = [row("a", "latency", 0.1, "median", threads=2, **WAY, **SHAPE)]
    old = [row(model, "latency", 0.05, "median", threads=1, **WAY, **SHAPE) for model in ("a", "b")]
    old.append(row("b", "parameter_bytes", 1e8))
    known, other = candidates_of([new, old], task=None, **SHAPE)
    assert known.figures[Axis.LATENCY].value == 0.1
    assert other.model == "b"
    assert Axis.LATENCY not in other.figures


def test_weights_in_another_format_have_no_size_here():
    """Bytes are counted in fp32, which says nothing about weights in int8; no command is said to count them."""
    rows = [
        row("a", "latency", 0.1, "median", backend="onnxruntime-int8", dtype="int8", **SHAPE),
        row("a", "parameter_bytes", 4e8, **WAY),
    ]
    (only,) = candidates_of([rows], task=None, **SHAPE)
    assert Axis.SIZE not in only.figures
    inquiry = Inquiry(Limits({Axis.SIZE: 1e8}, Axis.LATENCY), 1, 128, None)
    notes = report([only], inquiry).tables[0].notes
    assert "not known: size of a (onnxruntime-int8); weights are counted in fp32 only" in notes


def test_the_score_of_all_examples_counts_before_that_of_some():
    """In PyTorch and fp32 the task's own score counts, and not that of the rows by which back-ends are checked."""
    rows = [
        row("a", "latency", 0.1, "median", **WAY, **SHAPE),
        row("a", "score", 0.5, "audited", task="sst2", **WAY),
        row("a", "score", 0.9, "mean", low=0.88, high=0.92, task="sst2", **WAY),
    ]
    (only,) = candidates_of([rows], task="sst2", **SHAPE)
    assert only.figures[Axis.SCORE].value == 0.9


def test_without_limits_the_title_says_what_is_not_known():
    """Where nothing is asked for but a preference no limits are spoken of."""
    made = report([candidate("a", size=1e6)], Inquiry(Limits({}, Axis.LATENCY), 1, 128, None))
    assert made.title == "Undecided: latency is not known of a"
    assert (
        headline(advise([candidate("a", score=0.9)], Limits({Axis.SCORE: 0.5})), Limits({Axis.SCORE: 0.5}))
        == made.title
    )
    assert not any("only PyTorch was timed" in note for note in made.tables[0].notes)


def test_what_a_score_is_of_is_told():
    """A score of a sample, or of random weights, is no reason to take a model without saying so."""
    caveats = (SampleOnly(100, 872), RandomWeights())
    rows = [
        row("a", "latency", 0.1, "median", **WAY, **SHAPE),
        row("a", "score", 0.9, "mean", task="sst2", caveats=caveats, **WAY),
    ]
    notes = report(candidates_of([rows], task="sst2", **SHAPE)).tables[0].notes
    assert "score on sst2 of a: 100 of 872 examples" in notes
    assert "score on sst2 of a: random weights" in notes


def test_commands_quote_names():
    """A name that a shell would run is no part of a command that may be pasted."""
    notes = "\n".join(report([candidate("a;b", size=1e6)]).tables[0].notes)
    assert "bertbench speed --models 'a;b' " in notes


def test_a_back_end_s_own_score_is_not_that_of_pytorch():
    """Where its own answers were scored the note says of how many examples, and not that the score is PyTorch's."""
    way = {"backend": "onnxruntime-int8", "dtype": "int8"}
    rows = [
        row("a", "latency", 0.1, "median", **way, **SHAPE),
        row("a", "score", 0.9, "audited", task="sst2", n=200, n_unit="examples", **way),
    ]
    notes = report(candidates_of([rows], task="sst2", **SHAPE)).tables[0].notes
    assert "score on sst2 of a (onnxruntime-int8): its own answers to 200 examples, without an interval" in notes
    assert not any("PyTorch in fp32" in note for note in notes)


def test_a_score_of_nothing_is_a_difference():
    """A model that learned nothing may score 0, which is told as any other score."""
    order = Limits({}, Axis.SCORE).order
    assert list(costs_of(candidate("none", score=0.0), candidate("good", score=0.55), order)) == ["55.0 points lower"]


def test_scores_of_one_session_are_told_apart_by_their_difference():
    """Intervals that overlap hide what the same examples show: then the better score is taken, as in the table of uses."""
    scored = {"task": "sst2", "split": "validation", **WAY}
    rows = [
        row("a", "score", 0.96, "mean", low=0.95, high=0.97, **scored),
        row("b", "score", 0.955, "mean", low=0.945, high=0.965, **scored),
        row("b", "score", -0.005, "difference", low=-0.008, high=-0.002, reference="a", **scored),
        row("a", "latency", 0.2, "median", low=0.19, high=0.21, **WAY, **SHAPE),
        row("b", "latency", 0.1, "median", low=0.09, high=0.11, **WAY, **SHAPE),
    ]
    limits = Limits({Axis.LATENCY: 1.0})
    advice = advise(candidates_of([rows], task="sst2", **SHAPE), limits)
    assert (advice.taken.model, advice.equals) == ("a", ())
    assert list(costs_of(advice.fitting[1], advice.taken, limits.order)) == ["0.5 points lower", "2.00x faster"]
    level = [replace(each, high=0.001) if each.statistic == "difference" else each for each in rows]
    assert advise(candidates_of([level], task="sst2", **SHAPE), limits).taken.model == "b"
    other = [replace(each, session_id="t") if each.statistic == "difference" else each for each in rows]
    assert advise(candidates_of([other], task="sst2", **SHAPE), limits).taken.model == "b"
