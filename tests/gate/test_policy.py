"""The gate's policy: tiers, margins, waivers that expire, and nothing critical that passes unmeasured."""

import json
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from bertbench.errors import ConfigError
from bertbench.gate.baseline import Fingerprints, read
from bertbench.gate.finding import GateFinding, Margins, Waiver, verdict_of
from bertbench.gate.judging import against_baseline, broken_checkpoints
from bertbench.gate.policy import Gated, GatePolicy, margin_text, quantity_named, read_policy
from bertbench.gate.report import annotation_lines, bencher_metrics, build, build_plan, write_bencher, write_junit
from bertbench.stats.estimate import Estimate
from tests.gate.conftest import MODEL, TASK, baseline, checkpoint, saved

TODAY = date(2026, 11, 30)
ROOT = Path(__file__).parents[2]
EVERYTHING = ["size", "quality", "speed", "memory"]


def policy(tmp_path, text):
    """What this file says."""
    (tmp_path / "gate.yaml").write_text(text)
    return read_policy(tmp_path / "gate.yaml")


GATED = Gated([MODEL], [TASK], "bert")


def checked(rules, before, now, kinds=EVERYTHING, today=TODAY):
    """Findings and notes of one baseline against another."""
    prints = Fingerprints({(MODEL, TASK): now.baseline.scores[0].checkpoint})
    return rules.judged(lambda margins: against_baseline(before, now, [MODEL], kinds, margins, prints), GATED, today)


def verdicts(findings):
    """By tier and quantity what was found; equal ones are one."""
    return {(finding.tier, quantity_named(finding)): finding.verdict for finding in findings}


WORSE = {"peak_memory": {"bert": {"1x128": 400e6}, MODEL: {"1x128": 230e6}}}  # by 15 %


def test_without_a_policy_all_is_critical(before):
    """Rules are what a file adds: without one every finding decides, and nothing is said."""
    findings, notes = checked(GatePolicy(), before, saved(**WORSE))
    plain = against_baseline(
        before, saved(**WORSE), [MODEL], EVERYTHING, Margins(), Fingerprints({(MODEL, TASK): checkpoint()})
    )
    assert (findings, notes) == (plain, [])
    assert verdict_of(findings) == "fail"


def test_what_is_advisory_never_fails(before, tmp_path):
    """A breach of an advisory margin is found and shown, and the gate passes; the same one critical fails it."""
    rules = policy(tmp_path, "critical: [{quantity: counts}]\nadvisory: [{quantity: memory}]\nothers: none\n")
    findings, _ = checked(rules, before, saved(**WORSE))
    assert verdicts(findings) == {("critical", "counts"): "pass", ("advisory", "memory"): "fail"}
    assert verdict_of(findings) == "pass"
    rules = policy(tmp_path, "critical: [{quantity: memory}]\nothers: advisory\n")
    assert verdict_of(checked(rules, before, saved(**WORSE))[0]) == "fail"


def test_each_tier_has_margins_of_its_own(before, tmp_path):
    """One quantity may be in both tiers: beyond the advisory margin it is shown, beyond the critical one it fails."""
    text = "critical: [{quantity: memory, margin: 1.2}]\nadvisory: [{quantity: memory, margin: 1.05}]\nothers: none\n"
    findings, _ = checked(policy(tmp_path, text), before, saved(**WORSE))
    assert [(finding.tier, finding.verdict, finding.margin) for finding in findings] == [
        ("critical", "pass", "1.2x"),
        ("advisory", "fail", "1.05x"),
    ]
    assert verdict_of(findings) == "pass"


def test_the_most_telling_rule_gives_the_margin(tmp_path):
    """Of a model on a task, of the task, of all: what is said of fewer comes first."""
    text = (
        "critical:\n- {quantity: score, margin: 0.9}\n- {quantity: score, task: sst2, margin: 0.8}\n"
        "- {quantity: score, task: sst2, model: bert, margin: 0.7}\n- {quantity: outputs, model: bert, margin: 0.5}\n"
    )
    (margins,) = policy(tmp_path, text).tiers.values()
    assert [margins.at("quality", *place) for place in (("bert", "sst2"), ("x", "sst2"), ("bert", "mrpc"))] == [
        *(0.7, 0.8, 0.9)
    ]
    assert (margins.at("outputs", "bert", "sst2"), margins.at("outputs", "x", "sst2")) == (0.5, 1e-3)
    assert margins.speed == Margins().speed


def test_a_rule_without_a_margin_has_the_usual_one(before, tmp_path):
    """A looser rule of all loosens no rule of fewer: that has the usual margin; of times one margin holds of all models."""
    text = (
        "critical:\n- {quantity: score, margin: 0.9}\n- {quantity: score, task: sst2}\n"
        "- {quantity: outputs, margin: 0.5}\n- {quantity: outputs, model: bert}\n"
        "- {quantity: time, margin: 1.5}\n- {quantity: time, model: bert}\nothers: none\n"
    )
    rules = policy(tmp_path, text)
    (margins,) = rules.tiers.values()
    usual = Margins()
    assert (margins.at("quality", "bert", "sst2"), margins.at("quality", "bert", "mrpc")) == (usual.quality, 0.9)
    assert (margins.at("outputs", "bert", "sst2"), margins.at("outputs", "x", "sst2")) == (usual.outputs, 0.5)
    assert margins.speed == margins.at("speed", "bert") == 1.5
    (score,) = (finding for finding in checked(rules, before, saved(right=4500))[0] if finding.quantity == "score")
    assert (score.verdict, score.margin) == ("fail", "99% retained")


def test_margins_by_task_reach_the_verdict(before, tmp_path):
    """A score that lost 1.05 % of itself fails at 99.9 % retained and passes at 90 %, each only on its task."""
    now = saved(right=4700)
    tight = "critical: [{quantity: score, task: sst2, margin: 0.999}]\nothers: none\n"
    loose = "critical: [{quantity: score, margin: 0.999}, {quantity: score, task: sst2, margin: 0.9}]\nothers: none\n"
    assert [finding.verdict for finding in checked(policy(tmp_path, tight), before, now)[0]] == ["fail"]
    assert [finding.verdict for finding in checked(policy(tmp_path, loose), before, now)[0]] == ["pass"]


def waived(expires, quantity="memory", extra=""):
    """A policy with one waiver."""
    return (
        f"critical: [{{quantity: memory}}, {{quantity: counts}}]\nothers: none\n"
        f"waivers: [{{quantity: {quantity}, reason: larger cache, expires: '{expires}'{extra}}}]\n"
    )


def test_a_waiver_counts_until_its_last_day(before, tmp_path):
    """On the day itself a breach is waived, shown as such; the day after it fails, and that it has expired is said."""
    rules = policy(tmp_path, waived("2026-11-30"))
    findings, notes = checked(rules, before, saved(**WORSE))
    (memory,) = (finding for finding in findings if finding.kind == "memory")
    assert (memory.verdict, memory.waiver) == ("fail", Waiver("larger cache", TODAY))
    assert verdict_of(findings) == "pass"
    assert notes == ["5 quantities that the policy does not name are not gated"]
    report = build(findings, "Gate", "base")
    assert any("fail, waived until 2026-11-30: larger cache" in row[-1] for row in report.tables[0].rows)
    assert any("fail, waived until 2026-11-30: larger cache" in (row.note or "") for row in report.rows)
    findings, notes = checked(rules, before, saved(**WORSE), today=date(2026, 12, 1))
    assert verdict_of(findings) == "fail"
    assert notes[1:] == ["the waiver of memory expired on 2026-11-30 and counts no more: larger cache"]


def test_a_waiver_that_does_nothing_is_said(before, tmp_path):
    """A waiver without a quantity that is gated, and one of what is within its margin, are said."""
    _, notes = checked(policy(tmp_path, waived("2027-01-01", "outputs")), before, saved(**WORSE))
    assert notes[-1] == "the waiver of outputs matches nothing that is gated: larger cache"
    _, notes = checked(policy(tmp_path, waived("2027-01-01")), before, saved())
    assert "until 2027-01-01 is not used" in notes[-1]
    _, notes = checked(policy(tmp_path, waived("2027-01-01", extra=", model: bert")), before, saved(**WORSE))
    assert "the waiver of memory of bert matches nothing" in notes[-1]


def test_what_is_missing_cannot_be_waived(before, tmp_path):
    """A waiver covers what was compared: what broke still fails, what was not measured stays open."""
    rules = policy(tmp_path, waived("2027-01-01"))
    findings, notes = checked(rules, before, saved(peak_memory={"bert": {"1x128": 400e6}}))
    assert verdict_of(findings) == "inconclusive"
    assert "is not used" in notes[-1]
    broken = GateFinding("memory", MODEL, "measuring", "fail", reason="killed")
    findings, _ = rules.judged(lambda _: [broken], GATED, TODAY)
    assert verdict_of(findings) == "fail"


def test_what_broke_cannot_be_waived(before, tmp_path):
    """A checkpoint that cannot be loaded, outputs that are no numbers, and what is not counted any more fail under a waiver."""
    text = "critical: [{quantity: %s}]\nothers: none\nwaivers: [{quantity: %s, reason: x, expires: '9999-12-31'}]\n"
    damaged = Fingerprints(failed={(MODEL, TASK): "damaged"})
    no_numbers = Fingerprints({(MODEL, TASK): checkpoint(outputs=(0.5, float("nan"), 1.0, 2.0))})
    moved = Fingerprints({(MODEL, TASK): checkpoint(outputs=(0.5, -0.5, 1.0, 2.01))})
    fewer = saved(counts={MODEL: {"parameters unique": 66.0}})
    other = saved(counts={MODEL: {"parameters unique": 67.0, "flops 1x128": 11.0}})
    for quantity, kind, now, prints, verdict in (
        ("checkpoint", "quality", saved(), damaged, "fail"),
        ("outputs", "quality", saved(), no_numbers, "fail"),
        ("outputs", "quality", saved(), moved, "pass"),
        ("counts", "size", fewer, Fingerprints(), "fail"),
        ("counts", "size", other, Fingerprints(), "pass"),
    ):
        rules = policy(tmp_path, text % (quantity, quantity))
        findings, notes = rules.judged(
            partial(against_baseline, before, now, [MODEL], [kind], prints=prints), GATED, TODAY
        )
        assert verdict_of(findings) == verdict
        assert any("is not used" in note for note in notes) == (verdict == "fail")


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        ("{quantity: time}", ["size", "quality", "memory"]),
        (f"{{quantity: score, task: {TASK}}}", ["size"]),
        (f"{{quantity: counts, model: {MODEL}}}", ["quality"]),
    ],
)
def test_nothing_critical_passes_unmeasured(before, tmp_path, rule, kinds):
    """What a critical rule names and nobody measured is an open finding, so that the gate cannot pass."""
    others = "{quantity: memory}, {quantity: outputs}, {quantity: counts, model: bert}"
    rules = policy(tmp_path, f"critical: [{rule}]\nadvisory: [{others}]\nothers: none\n")
    findings, notes = checked(rules, before, saved(), kinds)
    (open_one,) = (finding for finding in findings if finding.tier == "critical")
    assert (open_one.verdict, open_one.measured, open_one.reason) == (
        *("inconclusive", False),
        "critical by the policy, and not measured",
    )
    assert verdict_of(findings) in {"inconclusive", "nothing measured"}
    assert "advisory counts of bert was not measured" in notes


OTHER = "albert"


def with_other(kept):
    """A baseline of two models with scores, of which the second has this checkpoint."""
    first = baseline().scores[0]
    scores = (first, replace(first, model=OTHER, checkpoint=kept))
    models = {"bert": {}, MODEL: {}, OTHER: {}}
    frame = saved().predictions[MODEL, TASK]
    both = saved(scores=scores, models=models)
    return replace(both, predictions={(MODEL, TASK): frame, (OTHER, TASK): frame})


@pytest.mark.parametrize("kept", [checkpoint(), None])
def test_what_one_model_has_says_nothing_about_another(tmp_path, kept):
    """A critical rule asks for every model: one whose checkpoint cannot be loaded, or was not kept, leaves the gate open."""
    both = with_other(kept)
    lost = {(OTHER, TASK): "damaged"} if kept else {}
    prints = Fingerprints({(MODEL, TASK): checkpoint()}, lost)
    gated = Gated(["bert", MODEL, OTHER], [TASK], "bert")

    def judged(text, models=gated):
        rules = policy(tmp_path, text)
        return rules.judged(
            lambda margins: against_baseline(both, both, models.models, ["quality"], margins, prints), models, TODAY
        )

    findings, _ = judged("critical: [{quantity: outputs}]\nothers: none\n")
    assert {finding.model: (finding.verdict, finding.measured) for finding in findings} == {
        "bert": ("inconclusive", False),
        MODEL: ("pass", True),
        OTHER: ("inconclusive", False),
    }
    assert {finding.detail for finding in findings} == {TASK}
    assert verdict_of(findings) == "inconclusive"
    findings, _ = judged(f"critical: [{{quantity: outputs, model: {MODEL}}}]\nothers: none\n")
    assert verdict_of(findings) == "pass"
    _, notes = judged("advisory: [{quantity: outputs}]\nothers: none\n", replace(gated, models=[MODEL, OTHER]))
    assert f"advisory outputs was not measured: {OTHER} on {TASK}" in notes


def test_no_rule_asks_for_the_ratio_of_the_reference_to_itself(before, tmp_path):
    """Times and memory are asked of all models but the one that they are divided by; two rules ask for one thing once."""
    gated = Gated(["bert", MODEL], [TASK], "bert")
    rules = policy(tmp_path, "critical: [{quantity: memory}]\nothers: none\n")
    findings, _ = rules.judged(
        lambda margins: against_baseline(before, saved(), gated.models, ["memory"], margins, Fingerprints()),
        gated,
        TODAY,
    )
    assert [(finding.model, finding.verdict) for finding in findings] == [(MODEL, "pass")]
    rules = policy(tmp_path, f"critical: [{{quantity: score}}, {{quantity: score, task: {TASK}}}]\nothers: none\n")
    findings, _ = rules.judged(lambda _: [], gated, TODAY)
    assert [(finding.model, finding.detail) for finding in findings] == [("bert", TASK), (MODEL, TASK)]


def test_what_a_critical_rule_names_is_gated_or_open(before, tmp_path):
    """Outputs of other weights are not gated as a rule; where they are critical, that leaves the gate open."""
    other = replace(checkpoint(), digest="e" * 64, kept=None)
    score = replace(before.baseline.scores[0], checkpoint=replace(checkpoint(), kept=None))
    old = replace(before, baseline=replace(before.baseline, scores=(score,)))
    now = saved()
    now = replace(now, baseline=replace(now.baseline, scores=(replace(score, checkpoint=other),)))
    assert verdict_of(checked(GatePolicy(), old, now)[0]) != "fail"
    rules = policy(tmp_path, "critical: [{quantity: outputs}]\nothers: none\n")
    (finding,) = checked(rules, old, now, ["quality"])[0]
    assert (finding.verdict, verdict_of([finding])) == ("inconclusive", "nothing measured")


def test_advisory_outputs_keep_no_score_from_being_measured(before, tmp_path):
    """A critical score is measured although advisory outputs differ; outputs that are critical mean another checkpoint."""
    moved = replace(checkpoint(), outputs=(0.6, -0.5, 1.0, 2.0))
    prints = Fingerprints({(MODEL, TASK): moved})
    advisory = policy(tmp_path, "critical: [{quantity: score}]\nadvisory: [{quantity: outputs}]\n")
    assert not broken_checkpoints(before, prints, Margins(), lambda finding: advisory.decides(finding, TODAY))
    assert broken_checkpoints(before, prints, Margins(), lambda finding: GatePolicy().decides(finding, TODAY))


@pytest.mark.parametrize(
    ("text", "outputs", "is_broken"),
    [
        (
            "critical: [{quantity: outputs, margin: 0.5}]\nadvisory: [{quantity: outputs}]\n",
            (0.6, -0.5, 1.0, 2.0),
            False,
        ),
        ("critical: [{quantity: outputs}]\n", (0.6, -0.5, 1.0, 2.0), True),
        ("waivers: [{quantity: outputs, reason: x, expires: '2026-11-30'}]\n", (0.6, -0.5, 1.0, 2.0), False),
        ("waivers: [{quantity: outputs, reason: x, expires: '2026-11-29'}]\n", (0.6, -0.5, 1.0, 2.0), True),
        ("waivers: [{quantity: outputs, reason: x, expires: '2026-11-30'}]\n", (float("nan"), -0.5, 1.0, 2.0), True),
    ],
)
def test_only_outputs_that_decide_keep_a_score_from_being_measured(tmp_path, text, outputs, is_broken):
    """Outputs go by the critical margin alone and not by what is waived; of two checkpoints only the one that is broken counts."""
    rules = policy(tmp_path, text)
    prints = Fingerprints({(MODEL, TASK): checkpoint(outputs=outputs), (OTHER, TASK): checkpoint()})
    broken = broken_checkpoints(
        with_other(checkpoint()), prints, rules.critical_margins, lambda finding: rules.decides(finding, TODAY)
    )
    assert broken == ({(MODEL, TASK)} if is_broken else set())


def test_others_may_be_left_out(before, tmp_path):
    """With `others: none` what no rule names is neither gated nor, kind by kind, measured; how much that is, is said."""
    rules = policy(tmp_path, "critical: [{quantity: score}]\nothers: none\n")
    assert [kind for kind in EVERYTHING if rules.gates(kind)] == ["quality"]
    findings, notes = checked(rules, before, saved())
    assert {quantity_named(finding) for finding in findings} == {"score"}
    assert notes[0].endswith("quantities that the policy does not name are not gated")
    assert all(GatePolicy().gates(kind) for kind in EVERYTHING)


def test_timing_ends_when_every_tier_is_clear(tmp_path):
    """Each margin of time that a tier gates is asked before timing ends."""
    both = policy(tmp_path, "critical: [{quantity: time, margin: 1.2}]\nadvisory: [{quantity: time, margin: 1.02}]\n")
    assert [margins.speed for margins in both.deciding] == [1.2, 1.02]
    only = policy(tmp_path, "critical: [{quantity: time, margin: 1.2}]\nadvisory: [{quantity: score}]\nothers: none\n")
    assert [margins.speed for margins in only.deciding] == [1.2]
    assert GatePolicy().deciding == (Margins(),)


def test_nothing_critical_at_all():
    """A gate with nothing but advice passes where something was measured, and measured nothing where nothing was."""
    advice = GateFinding("speed", "a", "time", "fail", tier="advisory")
    assert verdict_of([advice]) == "pass"
    assert "nothing is critical: this gate cannot fail" in build([advice], "Gate", "base").tables[0].notes
    assert verdict_of([replace(advice, verdict="inconclusive", measured=False)]) == "nothing measured"
    lacking = GateFinding("size", "a", "counts", "inconclusive", measured=False)
    assert verdict_of([advice, lacking]) == "inconclusive"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("critical: [{quantity: scor}]", "key 'critical.0.quantity': input should be 'counts'"),
        ("critcal: []", "key 'critcal' is not known (line 1)"),
        ("critical: [{task: sst2}]", "key 'critical.0.quantity' is missing"),
        ("critical: [{quantity: time, task: sst2}]", "time is of no task: leave 'task' out"),
        ("critical: [{quantity: counts, margin: 1.1}]", "counts must be equal: leave 'margin' out"),
        ("critical: [{quantity: time, model: bert, margin: 1.1}]", "the margin of time is one for all models"),
        ("critical: [{quantity: time, margin: 0.9}]", "margin 0.9 must be a factor above 1"),
        ("critical: [{quantity: score, margin: 1.5}]", "margin 1.5 must lie between 0 and 1"),
        ("critical: [{quantity: outputs, margin: true}]", "key 'critical.0.margin': input should be a valid number"),
        ("critical: [{quantity: score, margin: '.nan'}]", "key 'critical.0.margin'"),
        ("critical: [{quantity: score}, {quantity: score, margin: 0.9}]", "critical names score twice"),
        ("critical: [{quantity: score, task: a}, {quantity: score, model: b}]", "name model and task in one rule"),
        ("others: some", "key 'others': input should be 'critical', 'advisory' or 'none', found 'some'"),
        ("waivers: [{quantity: score, reason: x, expires: soon}]", "must be a day such as '2027-01-31'"),
        ("waivers: [{quantity: score, reason: x, expires: 2027-01-31}]", "YAML takes 2027-01-31 for a date"),
        ("waivers: [{quantity: score, reason: '', expires: '2027-01-31'}]", "key 'waivers.0.reason'"),
        ("waivers: [{quantity: score, expires: '2027-01-31'}]", "key 'waivers.0.reason' is missing"),
        ("others: none", "gates nothing"),
        ("- critical", "expected 'key: value' lines"),
        (None, "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, said):
    """A policy is refused with its file and key, whatever is wrong."""
    path = tmp_path / "gate.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_policy(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_are_not_there_are_refused(tmp_path):
    """A model or task that the baseline has not is one line with the nearest name: else a rule would gate nothing."""
    rules = policy(tmp_path, "critical: [{quantity: score, task: sst3}]\n")
    with pytest.raises(ConfigError, match=r"key 'critical\.0\.task': unknown task 'sst3'; did you mean 'sst2'\?"):
        rules.check_names(["bert"], ["sst2"])
    rules = policy(tmp_path, "waivers: [{quantity: time, model: brt, reason: x, expires: '2027-01-01'}]\n")
    with pytest.raises(ConfigError, match=r"key 'waivers\.0\.model': unknown model 'brt'; did you mean 'bert'\?"):
        rules.check_names(["bert"], ["sst2"])


def test_a_plan_has_margin_tier_and_waiver(before, tmp_path):
    """What would be gated, with which margin; a waiver stands at all that it covers, an expired one is said."""
    rules = policy(tmp_path, f"advisory: [{{quantity: memory}}]\n{waived('2027-01-01').partition('none')[2]}")
    prints = Fingerprints({(MODEL, TASK): checkpoint()})
    findings, notes = rules.judged(
        lambda margins: against_baseline(before, before, [MODEL], EVERYTHING, margins, prints),
        GATED,
        TODAY,
        is_dry=True,
    )
    rows = {row[1]: row[2:5] for row in build_plan(findings, rules.tiers, "Gate", notes).tables[0].rows}
    assert rows == {
        "counts": ("equal", "critical", ""),
        f"checkpoint ({TASK})": ("equal", "critical", ""),
        f"outputs ({TASK})": ("0.001, same answers", "critical", ""),
        f"score ({TASK})": ("99% retained", "critical", ""),
        "time (1x128)": ("1.05x", "critical", ""),
        "memory (1x128)": ("1.1x", "advisory", "until 2027-01-01: larger cache"),
    }
    assert notes == []


def test_advice_is_shown_and_fails_nothing_anywhere(tmp_path):
    """JUnit skips it, GitHub warns of it, the table counts it; what is waived is a notice."""
    from junitparser import JUnitXml

    advice = GateFinding("speed", "a", "time", "fail", reason="slow", detail="1x128", tier="advisory")
    pardoned = GateFinding("memory", "a", "peak memory", "fail", waiver=Waiver("big\ncache", date(2027, 1, 1)))
    good = GateFinding("size", "a", "parameters unique", "pass", margin="equal")
    findings = [advice, pardoned, good]
    write_junit(findings, tmp_path / "gate.xml")
    xml = JUnitXml.fromfile(str(tmp_path / "gate.xml"))
    assert (xml.tests, xml.failures, xml.skipped) == (3, 0, 2)
    first, second = annotation_lines(findings)
    assert first.startswith("::warning ")
    assert first.endswith("slow; fail, advisory")
    assert second.startswith("::notice ")
    assert "\n" not in second
    notes = build(findings, "Gate", "base").tables[0].notes
    assert notes[1:3] == (
        "advisory, which decides nothing: 1 not shown to be within their margin",
        "waived: 1 that would count otherwise",
    )


def test_bencher_takes_what_is_written(tmp_path):
    """By benchmark and measure a value and its bounds, all finite numbers; what has no number is counted."""
    findings = [
        GateFinding("size", "bert", "parameters unique", "pass", value=66.0),
        GateFinding("quality", "bert", "score", "pass", detail="sst2", value=0.9, estimate=Estimate(-0.01, -0.02, 0.0)),
        GateFinding("speed", "bert", "time", "fail", detail="1x128", value=1.2, estimate=Estimate(1.1, 1.05, 1.15)),
        GateFinding("memory", "bert", "peak memory", "pass", detail="1x128", value=0.5, estimate=Estimate(1.0)),
        GateFinding("memory", "odd", "peak memory", "fail", value=float("nan")),
        GateFinding("quality", "bert", "labels", "pass"),
    ]
    assert write_bencher(findings, tmp_path / "bencher.json") == 2
    written = json.loads((tmp_path / "bencher.json").read_text())
    assert written == {
        "bert": {"parameters_unique": {"value": 66.0}},
        "bert sst2": {
            "score": {"value": 0.9},
            "score_difference": {"value": -0.01, "lower_value": -0.02, "upper_value": 0.0},
        },
        "bert 1x128": {
            "time_to_reference": {"value": 1.2},
            "time_ratio": {"value": 1.1, "lower_value": 1.05, "upper_value": 1.15},
            "peak_memory_to_reference": {"value": 0.5},
            "peak_memory_ratio": {"value": 1.0},
        },
    }
    for measures in bencher_metrics(findings)[0].values():
        for metric in measures.values():
            assert "value" in metric
            assert metric.keys() <= {"value", "lower_value", "upper_value"}
            assert metric.get("lower_value", metric["value"]) <= metric["value"] <= metric.get("upper_value", 9e9)


def test_findings_have_numbers(before):
    """What is compared has a number of now: counts, scores, and ratios to the reference."""
    findings, _ = checked(GatePolicy(), before, saved())
    values = {finding.subject: finding.value for finding in findings if finding.value is not None}
    assert values == {
        "parameters unique": 66.0,
        "flops 1x128": 11.0,
        f"score ({TASK})": 0.95,
        "time (1x128)": pytest.approx(0.4966, abs=1e-3),
        "peak memory (1x128)": 0.5,
    }


def test_margin_of_what_must_be_equal():
    """Counts and checkpoints have no margin to choose."""
    assert margin_text(GateFinding("size", "a", "parameters unique", "pass"), Margins()) == "equal"


def test_the_policy_that_is_shown_is_one(tmp_path):
    """The page's example is read, and names what the demo suite has."""
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    rules = policy(tmp_path, page.partition("```yaml\n# gate.yaml\n")[2].partition("```")[0])
    rules.check_names(["bert-mini", "albert-mini"], ["demo-sentiment"])
    assert rules.tiers.keys() == {"critical", "advisory"}


@pytest.mark.skipif(not (ROOT / ".github" / "gate.yaml").exists(), reason="not in this copy of the project")
def test_the_policy_of_this_project_fits_its_baseline():
    """What bertbench gates itself by names what the committed baseline has."""
    base = read(ROOT / "results" / "baseline").baseline
    read_policy(ROOT / ".github" / "gate.yaml").check_names(base.models, base.tasks)
