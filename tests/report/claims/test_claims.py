"""Which evidence settles a claim: binding, cells, sessions and recipes; and verdicts beside the figures of a comparison."""

from dataclasses import replace

import pytest

from bertbench.records.record import Measurement, Undefined
from bertbench.records.store import Store
from bertbench.report.claims.figure import SINGLE_READING
from bertbench.report.claims.proofs import Prover
from bertbench.report.claims.report import build_verdicts, verdict_text
from bertbench.report.compare.build import build
from bertbench.report.compare.rows import all_rows, evidence_of
from bertbench.report.row import method_text
from bertbench.specs.claims import ClaimSpec
from bertbench.stats.claim_tests import Bound, ClaimFigure, judge
from bertbench.stats.estimate import SINGLE_READING_MARGIN, Estimate, SeedsTaken
from tests import factories

MODELS = ("bert", "distilbert", "albert")
SECONDS = {"bert": 0.16, "distilbert": 0.08, "albert": 0.161}
CLAIM = {
    "wording": "DistilBERT is 40% smaller",
    "short": "40% smaller",
    "source": "s",
    "definition": "d",
    "model": "distilbert",
    "reference": "bert",
    "quantity": "parameters",
    "relation": "equal",
    "expected": 0.6,
    "margin": 0.01,
}
FASTER = {"quantity": "latency", "statistic": "speedup", "relation": "at_least", "expected": 1.6, "margin": 0.05}
KEEPS = {"quantity": "score", "task": "sst2", "relation": "at_least", "expected": 0.9, "margin": 0.0}


def claim(**fields):
    """A claim that is right, changed."""
    return ClaimSpec(**({"name": "mine"} | CLAIM | fields))


def prove(folder, spec):
    """The verdict from everything stored in a folder."""
    sessions = tuple(Store(folder).sessions())
    return Prover(sessions, {}, lambda one: (one.task,) if one.task else one.tasks).prove(spec)


def stored(folder, number=1, *, models=MODELS, **fields):
    """A session, the later the larger its number."""
    name = f"2026112{number}T120000-abc123"
    session = factories.session_record(models, session_id=name, **fields.pop("session", {}))
    records = [replace(one, session_id=name) for one in fields.pop("records", ())]
    before, factories.SESSION_ID = factories.SESSION_ID, name
    try:
        return factories.stored_session(folder, session=session, records=records, **fields)
    finally:
        factories.SESSION_ID = before


def trained(rights, n=1000, first=0, **fields):
    """Three seeds each of models that get shares of n examples right, by model, as `stored` takes them."""
    return [
        (model, factories.predictions(right, n, first + seed), {"seed": seed} | fields)
        for model, right in rights.items()
        for seed in range(3)
    ]


def sizes(**fields):
    """Counts of BERT and DistilBERT."""
    return [factories.size_record("bert", **fields), factories.size_record("distilbert", 66_362_880, **fields)]


def test_count_is_judged_without_an_interval(tmp_path):
    """Parameters are exact: the claim is settled by one count."""
    stored(tmp_path, records=sizes())
    found = prove(tmp_path, claim(expect="supported"))
    assert found.verdict == "supported"
    assert found.judgement.interval.low == found.judgement.interval.high == pytest.approx(0.60615, abs=1e-5)
    assert verdict_text(found) == "supported (as expected)"


def test_claim_binds_to_its_checkpoints(tmp_path):
    """What a project calls by a released model's name settles nothing about that model."""
    stored(tmp_path, records=sizes())
    checkpoints = {"distilbert": "distilbert/distilbert-base-uncased"}
    found = prove(tmp_path, claim(checkpoints=checkpoints))
    assert found.verdict == "not measured"
    assert found.reason == "distilbert was org/distilbert there, the claim is about distilbert/distilbert-base-uncased"
    assert prove(tmp_path, claim(checkpoints={"distilbert": "org/distilbert"})).verdict == "supported"


def test_other_architecture_under_a_released_name_settles_nothing(tmp_path):
    """Weights of a tenth of the published parameters are not the released model's, whatever they are called: in no session."""
    published = ({"row": "size", "statement": "s", "source": "s", "quantity": "parameters", "value": 66e6},)
    spec = factories.model_spec("distilbert", published=published).model_dump(mode="json")
    bound = {"checkpoints": {"distilbert": "org/distilbert"}}
    for number, count in ((1, 66_362_880), (2, 4_800_000)):
        own = {"weights_digest": str(number)}
        sizes = [factories.size_record("bert"), replace(factories.size_record("distilbert", count, **own), model=spec)]
        stored(tmp_path, number, records=sizes)
        if number == 2:
            name = f"2026112{number}T120000-abc123"
            rows = factories.timing_rows(SECONDS)
            sidecar = Store(tmp_path).write_sidecar(name, "timings", rows)
            for model in MODELS[:2]:
                speed = replace(factories.speed_record(model, rows, sidecar, session_id=name), **own)
                Store(tmp_path).write_record(replace(speed, model=spec) if model == "distilbert" else speed)
    assert prove(tmp_path, claim(**bound)).session.session.session_id.startswith("20261121")
    found = prove(tmp_path, claim(**FASTER, **bound))
    assert found.verdict == "not measured"
    assert found.reason == "distilbert had 4.8M parameters there, 66.0M are published: another architecture"
    assert prove(tmp_path, claim(**FASTER)).verdict == "supported"


def test_random_weights_settle_size_and_not_quality(tmp_path):
    """Random weights of the released architecture tell size, and that is marked; of quality they say nothing."""
    scored = [(model, factories.predictions(0.9), {"weights": "random"}) for model in MODELS[:2]]
    stored(tmp_path, records=sizes(weights="random"), scored=scored)
    found = prove(tmp_path, claim())
    assert found.verdict == "supported"
    table = build_verdicts([found], {}).tables[0]
    assert "random weights" in table.rows[0][-1]
    assert any(note.startswith("random weights of the same architecture") for note in table.notes)
    quality = prove(tmp_path, claim(**KEEPS))
    assert quality.verdict == "not measured"
    assert "random weights" in quality.reason


def test_speedup_comes_from_one_session(tmp_path):
    """The newest session that holds both models is judged; a newer one of one model alone is passed over, never mixed in."""
    stored(tmp_path, 1, timings=factories.timing_rows(SECONDS))
    stored(tmp_path, 2, timings=factories.timing_rows(SECONDS | {"distilbert": 0.16}))
    stored(tmp_path, 3, timings=factories.timing_rows({"distilbert": 0.01}), models=("distilbert",))
    found = prove(tmp_path, claim(**FASTER))
    assert found.session.session.session_id.startswith("20261122")
    assert found.verdict == "refuted"
    assert found.figure.estimate.value == pytest.approx(1, rel=0.02)
    assert (found.figure.n, found.figure.unit) == (5, "rounds")


def test_interrupted_session_is_no_evidence_for_times(tmp_path):
    """Only a complete session is judged."""
    stored(tmp_path, timings=factories.timing_rows(SECONDS), session={"complete": False})
    assert prove(tmp_path, claim(**FASTER)).verdict == "not measured"


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [
        ({"scenario": "fixed", "batch_size": 8, "sequence_length": 128}, "supported"),
        ({"scenario": "fixed", "batch_size": 4, "sequence_length": 128}, "not measured"),
        ({"scenario": "natural"}, "not measured"),
        ({"backend": "onnxruntime"}, "not measured"),
        ({"needs": {"rounds": 6}}, "not measured"),
        ({"needs": {"device": "cuda"}}, "not measured"),
        ({"needs": {"rounds": 5, "device": "cpu"}}, "supported"),
        ({"task": "stsb"}, "not measured"),
    ],
)
def test_claim_names_its_cell_and_what_it_takes(tmp_path, cell, verdict):
    """Another shape, back-end, device or task's texts, or fewer rounds, are not the evidence."""
    stored(tmp_path, timings=factories.timing_rows(SECONDS))
    assert prove(tmp_path, claim(**FASTER | cell)).verdict == verdict


def test_texts_are_the_tasks(tmp_path):
    """A claim on a task's texts is judged by the session that timed them."""
    rows = factories.timing_rows(SECONDS, shapes=((1, None),))
    sidecar = Store(tmp_path).write_sidecar(factories.SESSION_ID, "timings", rows)
    records = [factories.speed_record(model, rows, sidecar) for model in MODELS]
    records = [replace(one, settings=one.settings | {"natural_task": "stsb"}) for one in records]
    factories.stored_session(tmp_path, session=factories.session_record(MODELS), records=records)
    assert prove(tmp_path, claim(**FASTER, task="stsb", scenario="natural")).verdict == "supported"
    assert prove(tmp_path, claim(**FASTER, task="sst2", scenario="natural")).verdict == "not measured"


def test_reading_of_memory_is_certain_to_five_percent(tmp_path):
    """A single reading has no interval: it is taken as certain to 5 %, and the report says so."""
    peaks = [factories.memory_record("bert", 100e6), factories.memory_record("distilbert", 97e6)]
    stored(tmp_path, records=peaks)
    less = {"quantity": "peak_memory", "relation": "at_most", "expected": 1.0, "margin": 0.0}
    found = prove(tmp_path, claim(**less))
    assert found.verdict == "inconclusive"
    assert found.judgement.interval.high == pytest.approx(0.97 * SINGLE_READING_MARGIN)
    assert any(note.startswith(method_text(SINGLE_READING)) for note in build_verdicts([found], {}).tables[0].notes)
    assert prove(tmp_path, claim(**less | {"expected": 1.1})).verdict == "supported"
    assert prove(tmp_path, claim(**less | {"expected": 0.9})).verdict == "refuted"


def test_own_models_value_is_a_claim(tmp_path):
    """An SLA needs no reference: the interval of the model's own latency is held against it."""
    stored(tmp_path, timings=factories.timing_rows({"distilbert": 0.04}), models=("distilbert",))
    sla = {"reference": None, "quantity": "latency", "statistic": "value", "relation": "at_most", "margin": 0.0}
    assert prove(tmp_path, claim(**sla, expected=0.06)).verdict == "supported"
    assert prove(tmp_path, claim(**sla, expected=0.03)).verdict == "refuted"


def test_seeds_of_one_recipe_are_taken_together(tmp_path):
    """Seeds may come from several sessions, of the same recipe only, and only those that both models have."""
    for number, seed in ((1, 0), (2, 1), (3, 2)):
        scored = [
            (model, factories.predictions(right, 1000, seed), {"seed": seed})
            for model, right in (("bert", 0.90), ("distilbert", 0.88))
        ]
        scored += [("bert", factories.predictions(0.9, 1000, 7), {"seed": 7})]
        stored(tmp_path, number, scored=scored, session={"request": {"options": {"epochs": 3}}})
    other = [(model, factories.predictions(0.9, 1000), {"seed": 5}) for model in MODELS[:2]]
    stored(tmp_path, 4, scored=other, session={"request": {"options": {"epochs": 1}}})
    found = prove(tmp_path, claim(**KEEPS, needs={"seeds": 3}))
    assert found.verdict == "supported"
    assert (found.figure.n, found.figure.unit) == (3, "seeds")
    assert found.figure.estimate.method.seeds is SeedsTaken.OF_ALL_MODELS
    assert found.figure.estimate.scope == "method"
    short = prove(tmp_path, claim(**KEEPS, needs={"seeds": 4}))
    assert short.verdict == "not measured"
    assert "of 4 seeds" in short.reason


@pytest.mark.parametrize(("seeds", "scope"), [(1, "this checkpoint"), (2, "these checkpoints")])
def test_few_trained_seeds_settle_nothing_about_a_method(tmp_path, seeds, scope):
    """One or two seeds tell of their checkpoints, even if a claim's file asks for no more; three settle the claim."""
    scored = [one for one in trained({"bert": 0.9, "distilbert": 0.9}) if one[2]["seed"] < seeds]
    stored(tmp_path / "few", scored=scored)
    found = prove(tmp_path / "few", claim(**KEEPS, needs={"seeds": seeds}))
    assert found.verdict == "not measured"
    wording = f"has {seeds} of 3 seeds: its score tells of {scope}, a claim is about the method"
    assert found.reason == f"distilbert {wording}"
    stored(tmp_path / "three", scored=trained({"bert": 0.9, "distilbert": 0.9}))
    assert prove(tmp_path / "three", claim(**KEEPS, needs={"seeds": seeds})).verdict == "supported"


def test_an_evaluated_checkpoint_settles_what_is_claimed_of_it(tmp_path):
    """Of a published checkpoint that is only evaluated there are no seeds: the claim is about that checkpoint."""
    settings = factories.SETTINGS | {"mode": "evaluate"}
    scored = [(model, factories.predictions(0.9, 1000), {"settings": settings}) for model in MODELS[:2]]
    stored(tmp_path, scored=scored)
    found = prove(tmp_path, claim(**KEEPS))
    assert found.verdict == "supported"
    assert found.figure.estimate.scope == "this checkpoint"


def test_an_undefined_score_is_not_measured_for_its_reason(tmp_path):
    """A claim on a score that has no value settles nothing, and the metric's words say why."""
    task = factories.task_spec("stsb", labels=None, metrics=("pearson",), primary_metrics=("pearson",))
    frame = factories.predictions(0.9, 200)
    reasons = tuple(Undefined(name, "pearson: all are equal", "validation", 200) for name in ("pearson", "score"))
    constant = frame.assign(prediction=2.5)
    scored = [("bert", frame, {"task": task, "seed": seed}) for seed in range(3)]
    scored += [("distilbert", constant, {"task": task, "undefined": reasons, "seed": seed}) for seed in range(3)]
    stored(tmp_path, scored=scored)
    found = prove(tmp_path, claim(**KEEPS | {"task": "stsb"}))
    assert found.verdict == "not measured"
    assert "is undefined" in found.reason
    assert "pearson: all are equal" in found.reason


def test_cut_training_is_no_evidence_unless_it_may_be(tmp_path):
    """Training that was cut to fit a time limit, or on a part of the examples, settles nothing about a recipe."""
    alike = dict.fromkeys(MODELS[:2], 0.9)
    cut = trained(alike, capped=True)
    stored(tmp_path / "a", scored=cut)
    settings = factories.SETTINGS | {"mode": "fine-tune", "train_samples": 500, "train_available": 3000}
    part = trained(alike, settings=settings)
    stored(tmp_path / "b", scored=part)
    none = settings | {"train_samples": 0}
    stored(tmp_path / "c", scored=trained(alike, settings=none))
    for folder in ("a", "b", "c"):
        assert prove(tmp_path / folder, claim(**KEEPS)).verdict == "not measured"
        assert prove(tmp_path / folder, claim(**KEEPS, needs={"capped_training": True})).verdict != "not measured"


def test_resampled_training_sets_are_no_evidence(tmp_path):
    """Published figures are of models that learnt every example; one trained on a draw settles nothing, whatever a claim takes."""
    settings = factories.SETTINGS | {"mode": "fine-tune", "train_distinct": 1900}
    stored(tmp_path, scored=trained(dict.fromkeys(MODELS[:2], 0.9), settings=settings))
    proof = prove(tmp_path, claim(**KEEPS, needs={"capped_training": True}))
    assert proof.verdict == "not measured"
    assert "was trained on resampled training sets" in proof.reason


def test_a_part_of_the_work_is_no_evidence(tmp_path):
    """Scores of a few examples, or after fewer epochs than the recipe's, settle nothing unless the claim takes cut training."""
    for folder, options in (("a", {"eval_samples": 64}), ("b", {"epochs": 0.01})):
        scored = trained(dict.fromkeys(MODELS[:2], 0.9))
        stored(tmp_path / folder, scored=scored, session={"request": {"options": options}})
        assert prove(tmp_path / folder, claim(**KEEPS)).verdict == "not measured"
        assert prove(tmp_path / folder, claim(**KEEPS, needs={"capped_training": True})).verdict != "not measured"


def test_models_are_compared_by_one_recipe(tmp_path):
    """A reference with another number of epochs is no reference, unless the claim takes each model's own recipe."""
    scored = [
        one
        for model, epochs in (("bert", 3), ("distilbert", 10))
        for one in trained({model: 0.9}, settings=factories.SETTINGS | {"mode": "fine-tune", "epochs": epochs})
    ]
    stored(tmp_path, scored=scored)
    found = prove(tmp_path, claim(**KEEPS))
    assert found.verdict == "not measured"
    assert "different recipes on sst2: epochs 10 and 3" in found.reason
    assert prove(tmp_path, claim(**KEEPS, needs={"one_recipe": False})).verdict == "supported"


def test_checkpoints_that_learnt_by_different_recipes_are_no_evidence(tmp_path):
    """One that had a teacher for the task and one that had not settle nothing, unless the claim takes any recipe."""
    origins = {"bert": {"recipe": "fine-tuned", "origin": "a"}, "distilbert": {"recipe": "distilled", "origin": "b"}}

    def evaluated(**recipes):
        settings = factories.SETTINGS | {"mode": "evaluate"}
        return [
            (model, factories.predictions(0.9, 1000), {"settings": settings | {"origin": origin | recipes}})
            for model, origin in origins.items()
        ]

    stored(tmp_path / "a", scored=evaluated())
    found = prove(tmp_path / "a", claim(**KEEPS))
    assert found.verdict == "not measured"
    assert found.reason == "checkpoints that learnt sst2 by different recipes: distilbert distilled, bert fine-tuned"
    assert prove(tmp_path / "a", claim(**KEEPS, needs={"one_recipe": False})).verdict == "supported"
    stored(tmp_path / "b", scored=evaluated(recipe="fine-tuned"))  # of two trainers
    assert prove(tmp_path / "b", claim(**KEEPS)).verdict == "supported"


def test_other_published_checkpoints_leave_evidence_as_it_is(tmp_path):
    """What a configuration says today of checkpoints that a run did not evaluate has no part in its figures."""
    stored(tmp_path, records=sizes())
    models = {name: factories.model_spec(name, finetuned={"squad": {"checkpoint": "org/new"}}) for name in MODELS[:2]}
    sessions = tuple(Store(tmp_path).sessions())
    assert Prover(sessions, models, lambda one: one.tasks).prove(claim()).verdict == "supported"


@pytest.mark.parametrize("differs", ["training_dtype", "max_length"])
def test_models_are_compared_by_one_format_of_training(tmp_path, differs):
    """What was trained in another format, or at another length, than its reference was trained otherwise."""
    values = {"training_dtype": ("bf16", "fp32"), "max_length": (128, 512)}[differs]
    settings = [factories.SETTINGS | {"mode": "fine-tune", differs: one} for one in values]
    pairs = zip(MODELS[:2], settings, strict=True)
    stored(tmp_path, scored=[run for model, one in pairs for run in trained({model: 0.9}, settings=one)])
    assert f"different recipes on sst2: {differs.replace('_', ' ')}" in prove(tmp_path, claim(**KEEPS)).reason


def test_evaluated_checkpoints_were_not_trained_for_too_few_epochs(tmp_path):
    """--epochs says nothing of checkpoints that were evaluated as they are."""
    settings = factories.SETTINGS | {"mode": "evaluate", "max_length": 128}
    scored = [(model, factories.predictions(0.9, 1000), {"settings": settings}) for model in MODELS[:2]]
    stored(tmp_path, scored=scored, session={"request": {"options": {"epochs": 1}}})
    assert prove(tmp_path, claim(**KEEPS)).verdict != "not measured"


def test_seeds_of_another_way_of_measuring_are_not_mixed_in(tmp_path):
    """Scores by an older version of how quality is measured are no more seeds of the newer ones."""
    for number, version in ((1, 2), (2, 3)):
        scored = [(model, factories.predictions(0.9, 1000, number), {"seed": number}) for model in MODELS[:2]]
        stored(tmp_path, number, scored=scored, session={"request": {"options": {}, "versions": {"quality": version}}})
    assert "1 of 2 seeds" in prove(tmp_path, claim(**KEEPS, needs={"seeds": 2})).reason


def test_other_words_on_a_model_change_no_evidence(tmp_path):
    """What a configuration only says of a model, such as how it is compressed, may be put otherwise at any time."""
    words = {"compression": "said otherwise", "description": "so too"}
    other = {name: factories.model_spec(name, **words).model_dump(mode="json") for name in MODELS[:2]}
    stored(tmp_path, records=[replace(factories.size_record(name, 100), model=spec) for name, spec in other.items()])
    assert prove(tmp_path, claim()).verdict != "not measured"


def test_a_model_that_has_become_another_is_no_evidence(tmp_path):
    """What was measured of an earlier configuration of the same name neither settles a claim nor joins newer runs."""
    other = {name: factories.model_spec(name, config={"a": 1}).model_dump(mode="json") for name in MODELS[:2]}
    old = [replace(factories.size_record(name, 100), model=spec) for name, spec in other.items()]
    stored(tmp_path, records=old)
    now = {model: factories.model_spec(model) for model in MODELS}
    prover = Prover(tuple(Store(tmp_path).sessions()), now, lambda one: one.tasks)
    assert prover.prove(claim()).reason == "distilbert was configured otherwise there"
    for number, seed, changed in ((1, 0, True), (2, 1, False)):
        fields = {"seed": seed} | ({"weights_digest": "before"} if changed else {})
        scored = [("bert", factories.predictions(0.9, 500, seed), {"seed": seed})]
        scored.append(("distilbert", factories.predictions(0.9, 500, seed), fields))
        stored(tmp_path / "pool", number, scored=scored)
    found = prove(tmp_path / "pool", claim(**KEEPS, needs={"seeds": 2}))
    assert "1 of 2 seeds" in found.reason


def test_claim_on_each_task_needs_all_of_them(tmp_path):
    """One task below refutes the whole; a task that was not measured leaves it open."""
    rights = {"sst2": (0.9, 0.9), "rte": (0.9, 0.6)}
    scored = [
        one
        for task, pair in rights.items()
        for one in trained(dict(zip(MODELS[:2], pair, strict=True)), 2000, 3, task=factories.task_spec(task))
    ]
    stored(tmp_path, scored=scored, session={"tasks": ("sst2", "rte")})
    each = {**KEEPS, "task": None, "over": "each"}
    found = prove(tmp_path, claim(**each, tasks=("sst2", "rte")))
    assert [part.verdict for part in found.parts] == ["supported", "refuted"]
    assert found.verdict == "refuted"
    assert prove(tmp_path, claim(**each, tasks=("sst2", "cola"))).verdict == "not measured"
    rows = build_verdicts([found], {}).rows
    assert [(row.task, row.verdict) for row in rows[:2]] == [("sst2", "mine: supported"), ("rte", "mine: refuted")]
    mean = prove(tmp_path, claim(**{**each, "over": "mean"}, tasks=("sst2", "rte")))
    assert mean.verdict == "refuted"
    assert mean.figure.estimate.value == pytest.approx(0.833, abs=0.02)
    difference = claim(**{**each, "over": "mean", "statistic": "difference", "expected": 0.0}, tasks=("sst2", "rte"))
    assert prove(tmp_path, difference).figure.estimate.value == pytest.approx(-0.15, abs=0.02)


def test_mean_above_chance_is_lower_than_the_plain_mean(tmp_path):
    """What is kept above chance leaves out what guessing gets, so it is less than what is kept of the scores."""
    scored = []
    chance = Measurement("baseline_score", "1", (0.5,), statistic="trivial", split="validation")
    for task in ("sst2", "rte"):
        spec = factories.task_spec(task)
        for model, frame, fields in trained({"bert": 0.9, "distilbert": 0.8}, 2000, 3, task=spec):
            base = factories.quality_record(model, frame, spec)
            scored.append((model, frame, fields | {"measurements": (*base.measurements, chance)}))
    stored(tmp_path, scored=scored, session={"tasks": ("sst2", "rte")})
    keeps = {**KEEPS, "task": None, "tasks": ("sst2", "rte")}
    corrected = {**keeps, "quantity": "retention", "statistic": "value", "reading": "chance-corrected"}
    plain, above = prove(tmp_path, claim(**keeps)), prove(tmp_path, claim(**corrected))
    assert plain.figure.estimate.value == pytest.approx(0.89, abs=0.02)
    assert above.figure.estimate.value == pytest.approx(0.75, abs=0.04)
    assert above.figure.estimate.low is not None


def test_training_times_are_paired_by_seed(tmp_path):
    """A ratio of training times has a t-interval over seeds of one session; of a single seed it has none."""
    scored = [
        (model, factories.predictions(0.9), {"seed": seed, "run_id": f"{model}-{seed}", "measurements": (time,)})
        for model, factor in (("bert", 2.0), ("distilbert", 1.0))
        for seed in (1, 2, 3)
        for time in [Measurement("training_time", "s", (factor * (60 + seed),), n=1000, n_unit="samples")]
    ]
    stored(tmp_path, scored=scored)
    trains = {"quantity": "training_time", "task": "sst2", "statistic": "speedup", "relation": "at_least"}
    prover = Prover(tuple(Store(tmp_path).sessions()), {}, lambda one: (one.task,))
    prover.prove(claim(**KEEPS))  # the same runs, taken together with those of other sessions, have lost their times
    found = prover.prove(claim(**trains, expected=1.9, margin=0.0))
    assert found.verdict == "supported"
    assert found.figure.estimate.value == pytest.approx(2)
    assert (found.figure.n, found.figure.unit) == (3, "seeds")


def test_open_verdict_says_how_many_rounds_would_settle_it(tmp_path):
    """An inconclusive verdict tells how many rounds are expected to settle it, and how many there are."""
    stored(tmp_path, timings=factories.timing_rows(SECONDS, noise=0.3))
    value = prove(tmp_path, claim(**FASTER)).figure.estimate
    found = prove(tmp_path, claim(**FASTER | {"expected": value.value - (value.value - value.low) / 2, "margin": 0.0}))
    assert found.verdict == "inconclusive"
    assert found.judgement.needed > 5
    assert f"about {found.judgement.needed} rounds would settle it (there are 5)" in verdict_text(found)


def test_reason_of_a_failed_run_is_told(tmp_path):
    """A claim whose runs failed is not measured, for the reason that was recorded."""
    stored(tmp_path, records=[factories.failed("size", model, "no space left") for model in MODELS[:2]])
    assert prove(tmp_path, claim()).reason == "no space left"


def test_compare_shows_verdicts_that_bind(tmp_path):
    """The row that a claim is about and its cell carry the verdict; claims against other references or models do not show."""
    session = stored(tmp_path, records=[*sizes(), factories.size_record("albert", 11_683_584)])
    claims = [
        (claim(), ()),
        (claim(name="other", short="other", reference="albert"), ()),
        (claim(name="bound", short="bound", checkpoints={"bert": "google-bert/bert-base-uncased"}), ()),
        (claim(name="unmeasured", short="unmeasured", **FASTER), ()),
    ]
    specs = {name: factories.model_spec(name) for name in MODELS}
    report = build(session, specs, MODELS, "bert", claims=claims)
    told = {(row.model, row.quantity, row.statistic): row.verdict for row in report.rows if row.verdict}
    assert told == {("distilbert", "parameters", "unique"): "mine: supported"}
    cells = dict(
        zip(("title", *MODELS), next(row for row in report.tables[0].rows if row[0] == "Model size"), strict=True)
    )
    assert cells["distilbert"].endswith('claim "40% smaller": supported')
    assert "claim" not in cells["bert"] + cells["albert"]
    plain = build(session, specs, MODELS, "bert")
    assert not any(row.verdict for row in plain.rows)


def test_mean_over_other_tasks_is_not_the_claims(tmp_path):
    """A claim on a mean is not judged in compare by the mean over other tasks."""
    scored = [
        (model, factories.predictions(0.9, 500, 3), {"task": factories.task_spec(task)})
        for task in ("sst2", "rte", "cola")
        for model in MODELS[:2]
    ]
    session = stored(tmp_path, scored=scored, session={"tasks": ("sst2", "rte", "cola")})
    evidence = evidence_of(session, {}, MODELS[:2], "bert")
    assert any(row.task == "all-tasks" for row in all_rows(evidence))
    two = ("sst2", "rte")
    spec = claim(**{**KEEPS, "task": None}, tasks=two)
    specs = {name: factories.model_spec(name) for name in MODELS[:2]}
    report = build(session, specs, MODELS[:2], "bert", claims=[(spec, two)])
    assert not any(row.verdict for row in report.rows)


def test_verdicts_of_a_table_are_taken_together(tmp_path):
    """With Holm over all claims that were tested, the table says which verdicts stand only alone; exact figures test nothing."""
    stored(tmp_path, records=sizes(), timings=factories.timing_rows(SECONDS))
    found = prove(tmp_path, claim(**FASTER))
    interval = found.judgement.interval
    edge = found.claim.model_copy(update={"name": "edge", "expected": interval.low * 0.9999, "margin": 0.0})
    close = replace(found, claim=edge)
    exact = prove(tmp_path, claim(name="exact"))
    report = build_verdicts([found, close, exact], {})
    table = report.tables[0]
    assert any(note.startswith("Holm over the 2 claims that were tested") for note in table.notes)
    assert "alone: with Holm over 2 claims" not in table.rows[0][3]
    adjusted = [row.note for row in report.rows if "Holm-adjusted" in (row.note or "")]
    assert len(adjusted) == 2
    many = build_verdicts(
        [close, *(replace(close, claim=edge.model_copy(update={"name": f"e{i}"})) for i in range(3))], {}
    )
    assert all("alone: with Holm over 4 claims p = 0.19" in row[3] for row in many.tables[0].rows)
    assert any("0 of 4 verdicts stand together" in note for note in many.tables[0].notes)


def test_a_verdict_without_width_towards_its_bound_tests_nothing(tmp_path):
    """A score that was never above 1 in any replicate supports 'at most 1.1' and has no p-value; it is no failed test."""
    stored(tmp_path, records=sizes(), timings=factories.timing_rows(SECONDS))
    flat = ClaimFigure(Estimate(1.0, 0.9, 1.0))
    spec = prove(tmp_path, claim(**FASTER))
    bounded = spec.claim.model_copy(update={"relation": "at_most", "expected": 1.1, "margin": 0.0})
    proof = replace(
        spec, verdict="supported", claim=bounded, figure=flat, judgement=judge(flat, Bound("at_most", 1.1, 0.0))
    )
    (row,) = build_verdicts([proof], {}).tables[0].rows
    assert "supported" in row
    assert not any("Holm" in cell for cell in row)
