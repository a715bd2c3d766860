"""What will be done: evaluate or fine-tune, capped equally for all models, with expected times."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import ConfigError, DatasetError
from bertbench.models.checkpoints import ABOUT_FILE, write_about
from bertbench.models.loading import has_head
from bertbench.models.sources import gather
from bertbench.session import plan
from bertbench.session.request import Options, Request
from bertbench.session.steps import Instruments
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TrainingSpec
from bertbench.specs.timing import TimingSpec
from bertbench.tasks.examples import Examples
from tests.factories import model_spec, passes_at, task_spec

SLOW, FAST = 6e5, 6e14  # FLOP/s of passes
HALF = {
    "vocab_size": 430, "dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
TASK = task_spec(training={"epochs": 3, "batch_size": 4, "max_length": 16})


def examples(split, count=100):
    """Numbered examples."""
    ids = tuple(f"{split}-{number}" for number in range(count))
    return Examples(split, ids, (("a b c",),) * count, (0.0, 1.0) * (count // 2), count)


@pytest.fixture
def machine():
    """A machine of known speed, data from nowhere; `machine(calibration, missing=…)`."""

    def make(rate=FAST, missing=(), state="online"):
        def load(task, split, data_dir=None):
            if split in missing:
                raise DatasetError(f"no {split}")
            return examples(split)

        here.append(Instruments(pass_seconds=passes_at(rate), load=load, hub_state=lambda: state))

    yield make
    here.clear()


here = []  # what the newest `machine` is asked by


def planned(request, encoders, say=print, earlier=None, decide=lambda: "fp32"):
    """The plan on the machine of the test."""
    return plan.make(request, encoders, say, earlier, decide, here[-1])


def request(specs, *, may_be_random=False, **options):
    """A request for these models on one task."""
    names = tuple(spec.name for spec in specs)
    suite = SuiteSpec(name="base", title="Base", models=names, reference=names[0])
    options = Options(**({"device": "cpu"} | options))
    return Request("run", (), suite, tuple(specs), names[0], (TASK,), options, may_be_random=may_be_random)


def made(specs, say=lambda _: None, **options):
    """The plan for these models."""
    asked = request(specs, **options)
    return planned(asked, gather(asked.models, may_be_random=asked.may_be_random), say)


@pytest.fixture(scope="module")
def small(tiny):
    """A bare encoder."""
    return model_spec("small", checkpoint=str(tiny()), tokenizer="demo")


@pytest.fixture(scope="module")
def large(tiny):
    """One with more layers."""
    return model_spec("large", checkpoint=str(tiny(num_hidden_layers=6)), tokenizer="demo")


@pytest.fixture(scope="module")
def classifier(tiny):
    """A fine-tuned one."""
    return model_spec("tuned", checkpoint=str(tiny(head="sequence-classification")), tokenizer="demo")


def test_encoder_is_fine_tuned_for_every_seed(machine, small):
    """A bare encoder is trained once a seed on all samples."""
    machine()
    cells = made([small], seeds=(0, 1)).cells
    assert [(cell.work.mode, cell.seed, cell.work.seed) for cell in cells] == [("fine-tune", 0, 0), ("fine-tune", 1, 1)]
    assert all(len(cell.work.train) == 100 and not cell.capped for cell in cells)
    assert all(cell.work.recipe.epochs == 3 for cell in cells)


def test_each_data_seed_draws_its_training_set(machine, small, large):
    """The same draw for every model and initialization, as large as what is there after a cut; another seed has another."""
    machine()
    cells = made([small, large], seeds=(0, 1), data_seeds=(5, 6), train_samples=20, resample_training=True).cells
    drawn = {}
    for cell in cells:
        drawn.setdefault(cell.data_seed, set()).add(cell.work.training_examples().ids)
    assert {seed: len(draws) for seed, draws in drawn.items()} == {5: 1, 6: 1}
    assert drawn[5] != drawn[6]
    (ids,) = drawn[5]
    assert (len(ids), len(set(ids)) < 20) == (20, True)
    assert set(ids) <= set(made([small], train_samples=20).cells[0].work.training_examples().ids)


def test_plan_says_what_is_drawn(machine, small):
    """A step of training on a draw is no step of training on all."""
    machine()
    assert "(100 samples, drawn with replacement)" in made([small], resample_training=True).steps[-1].label


def test_cut_training_is_drawn_from_what_is_left(machine, small):
    """A cap takes its samples first, the same for all, and each seed draws among these."""
    machine(SLOW)
    (cell,) = made([small], max_train_minutes=0.001, resample_training=True).cells
    assert cell.capped
    assert set(cell.work.training_examples().ids) <= set(cell.work.train.ids)
    assert len(cell.work.training_examples()) == len(cell.work.train) < 100


def test_classifier_is_evaluated_once(machine, classifier):
    """A fine-tuned checkpoint is evaluated as it is; further seeds would repeat the figure."""
    machine()
    (cell,) = made([classifier], seeds=(4, 5)).cells
    assert (cell.work.mode, cell.work.train, cell.capped) == ("evaluate", None, False)


def test_finetune_trains_what_could_be_evaluated(machine, classifier):
    """--finetune trains from a fine-tuned checkpoint, too."""
    machine()
    (cell,) = made([classifier], finetune=True).cells
    assert cell.work.mode == "fine-tune"


def test_a_head_for_another_kind_of_task_is_no_head(machine, tiny):
    """What was fine-tuned on questions is evaluated on questions, and fine-tuned on a classification task."""
    machine()
    reader = model_spec("reader", checkpoint=str(tiny(head="question-answering")), tokenizer="demo")
    assert made([reader]).cells[0].work.mode == "fine-tune"
    folder = Path(reader.checkpoint)
    assert has_head(folder, "question-answering")
    assert not has_head(folder, "token-classification")


def test_students_come_after_their_teachers(machine, small):
    """A student's cell has its teacher's of the same seed, also where it was asked for first."""
    machine()
    student = model_spec(
        "half", checkpoint=None, tokenizer="demo", architecture="distilbert", config=HALF, distill={"teacher": "small"}
    )
    cells = made([student, small], seeds=(0, 1)).cells
    assert [cell.encoder.spec.name for cell in cells] == ["small", "small", "half", "half"]
    assert [cell.teacher.seed for cell in cells[2:]] == [0, 1]
    assert [cell.work.teaching.spec.teacher for cell in cells[2:]] == ["small", "small"]
    machine(SLOW)
    alone = student.model_copy(update={"distill": None})
    taught, plain = made([small, student], finetune=True).cells[1], made([alone, small], finetune=True).cells[0]
    assert taught.expected_s > plain.expected_s


def test_a_teacher_that_is_evaluated_teaches_every_seed(machine, classifier):
    """A fine-tuned checkpoint has one cell, whatever the student's seeds."""
    machine()
    student = model_spec(
        "half", checkpoint=None, tokenizer="demo", architecture="distilbert", config=HALF, distill={"teacher": "tuned"}
    )
    cells = made([classifier, student], seeds=(3, 4)).cells
    assert [cell.teacher is cells[0] for cell in cells[1:]] == [True, True]


def test_an_evaluated_student_needs_no_teacher(machine, small, tiny):
    """Where a checkpoint of the student is evaluated there is nothing to learn, and no teacher to wait for."""
    machine()
    student = model_spec(
        "half",
        checkpoint=None,
        tokenizer="demo",
        architecture="distilbert",
        config=HALF,
        distill={"teacher": "small"},
        finetuned={task_spec().name: {"checkpoint": str(tiny("distilbert", head="sequence-classification"))}},
    )
    cell = next(cell for cell in made([student, small]).cells if cell.encoder.spec.name == "half")
    assert (cell.work.mode, cell.teacher) == ("evaluate", None)


def test_a_student_without_its_teacher_is_left_out(machine):
    """Where the teacher is not to be had the student is skipped, and the reason is the teacher's."""
    machine()
    lone = model_spec(
        "half", checkpoint=None, tokenizer="demo", architecture="distilbert", config=HALF, distill={"teacher": "small"}
    )
    (cell,) = made([lone]).cells
    assert cell.work is None
    assert "its teacher small is not available" in cell.skipped.message


def test_a_student_that_does_not_fit_is_refused_before_any_work(machine, small):
    """Other widths than the teacher's are found out by configurations alone."""
    machine()
    wide = model_spec(
        "wide",
        checkpoint=None,
        tokenizer="demo",
        architecture="distilbert",
        config=HALF | {"dim": 64},
        distill={"teacher": "small"},
    )
    with pytest.raises(ConfigError, match="hidden_size is 64, its teacher's 32"):
        made([small, wide])


def test_published_checkpoint_is_preferred(machine, small, classifier):
    """A config's fine-tuned checkpoint is evaluated instead of training, unless --finetune asks for training."""
    machine()
    published = model_spec(finetuned={"sst2": {"checkpoint": classifier.checkpoint}}).finetuned
    spec = small.model_copy(update={"finetuned": published})
    (cell,) = made([spec]).cells
    assert (cell.work.mode, cell.work.source.weights) == ("evaluate", "fine-tuned")
    (cell,) = made([spec], finetune=True).cells
    assert (cell.work.mode, cell.work.source.weights) == ("fine-tune", "pretrained")


def test_cap_comes_from_the_slowest_model_and_is_equal_for_all(machine, small, large):
    """Training is cut for all to what the slowest can do, and the cut is said."""
    machine(SLOW)
    said = []
    cells = made([small, large], said.append, max_train_minutes=1.0).cells
    alone = made([small], max_train_minutes=1.0).cells[0]
    assert [cell.capped for cell in cells] == [True, True]
    assert cells[0].work.train == cells[1].work.train
    assert cells[0].work.recipe == cells[1].work.recipe
    assert len(cells[0].work.train) * cells[0].work.recipe.epochs < len(alone.work.train) * alone.work.recipe.epochs
    (line,) = said
    assert "of 100 samples" in line
    assert "--finetune lifts it" in line


def test_finetune_lifts_the_cap(machine, large):
    """With --finetune everything is trained, however long it takes."""
    machine(SLOW)
    (cell,) = made([large], finetune=True).cells
    assert not cell.capped
    assert len(cell.work.train) == 100


def test_number_format_of_training_is_what_was_decided(machine, small, classifier):
    """The decision counts unless another format was asked for, and never what a calibration happens to show."""
    machine(FAST)
    asked = []

    def trained(decided, models=(small,), **options):
        request_ = request(list(models), **options)
        encoders = gather(request_.models, may_be_random=False)
        return planned(request_, encoders, print, None, lambda: asked.append(decided) or decided)

    assert trained("bf16").cells[0].work.bf16_training
    assert trained("bf16").decisions == {"cuts": {"sst2": None}, "max_minutes": None, "training_dtype": "bf16"}
    assert not trained("fp32").cells[0].work.bf16_training
    assert not made([small]).cells[0].work.bf16_training
    asked.clear()
    assert trained("fp32", dtype="bf16").cells[0].work.bf16_training
    assert not trained("bf16", dtype="fp16").cells[0].work.bf16_training
    evaluated = trained("bf16", [classifier])
    assert (evaluated.cells[0].work.bf16_training, evaluated.decisions) == (False, {"cuts": {}, "max_minutes": None})
    assert asked == []


def test_kept_checkpoint_is_evaluated_at_the_length_of_its_training(machine, tiny):
    """On its own task a checkpoint that was trained here has one score; an option and another task go their own way."""
    machine()
    folder = tiny(head="sequence-classification")
    spec = model_spec("kept", checkpoint=str(folder), tokenizer="demo")
    write_about(folder, task="sst2", max_length=40, training_dtype="fp32")
    assert made([spec]).cells[0].work.recipe.max_length == 40
    assert made([spec], max_length=20).cells[0].work.recipe.max_length == 20
    assert made([spec], finetune=True).cells[0].work.recipe.max_length == 16
    write_about(folder, task="rte", max_length=40, training_dtype="fp32")
    assert made([spec]).cells[0].work.recipe.max_length == 16
    (folder / ABOUT_FILE).write_text("[]")
    assert made([spec]).cells[0].work.recipe.max_length == 16


@given(st.integers(1, 10_000), st.integers(1, 64), st.floats(0.1, 30_000))
def test_cut_takes_more_samples_before_more_epochs(available, batch_size, seen):
    """A cap is met with whole batches of one epoch, or with all samples and some epochs; never less than a batch."""
    count, epochs = plan.cut(available, TrainingSpec(batch_size=batch_size), seen)
    assert count >= min(batch_size, available)
    assert epochs == 1.0 or count == available
    assert count * epochs <= max(seen + 0.005 * available, batch_size)


def test_options_cut_data_the_same_way_for_all(machine, small, large):
    """--train-samples and --eval-samples draw one subset for all models."""
    machine()
    cells = made([small, large], train_samples=10, eval_samples=6).cells
    assert [(len(cell.work.train), len(cell.work.splits[0])) for cell in cells] == [(10, 6), (10, 6)]
    assert cells[0].work.train == cells[1].work.train


def test_missing_training_data_matters_to_training_only(machine, small, classifier):
    """A task without training examples can still evaluate; fine-tuning is refused before any work."""
    machine(missing=("train",))
    assert made([classifier]).cells[0].work.mode == "evaluate"
    with pytest.raises(DatasetError, match="no train"):
        made([small])


@pytest.mark.parametrize(
    ("state", "options"),
    [
        ("online", {"may_be_random": True}),
        ("unreachable", {}),
        ("unreachable", {"may_be_random": True, "data_dir": "x"}),
    ],
)
def test_missing_evaluation_data_is_an_error(machine, small, state, options, tmp_path):
    """Bad data, data that `run` needs, and a folder of the user's that lacks it are never passed over."""
    machine(missing=("validation",), state=state)
    if "data_dir" in options:
        options = options | {"data_dir": tmp_path}
    with pytest.raises(DatasetError, match="no validation"):
        made([small], **options)


def test_data_of_an_unreachable_hub_is_passed_over_by_compare(machine, small):
    """Where size and speed are worth having alone, the quality cell says why it is skipped."""
    machine(missing=("validation",), state="unreachable")
    (cell,) = made([small], may_be_random=True).cells
    assert (cell.work, cell.skipped.message) == (None, "no validation")


def test_absent_weights_skip_quality(machine):
    """A model on random weights only because the hub is away has no quality."""
    machine(state="unreachable")
    config = {
        "vocab_size": 40,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
    }
    (cell,) = made([model_spec(config=config)], may_be_random=True).cells
    assert cell.work is None
    assert "not cached" in cell.skipped.message


def test_plan_says_what_and_how_long(machine, small, large):
    """The plan lists size, speed, memory and every quality run with its time, and sums them up."""
    machine()
    asked = replace(request([small, large]), timing=TimingSpec(rounds=2))
    made_plan = planned(asked, gather(asked.models, may_be_random=False), print)
    lines = made_plan.lines()
    assert lines[0].startswith("plan (5 steps, about ")
    assert [line.split("  about")[0].strip() for line in lines[1:]] == [
        "counting parameters and FLOPs of 2 models",
        "timing 2 models (2 rounds, shapes 1x128)",
        "measuring memory of 2 models",
        "fine-tuning small on sst2, seed 0 (100 samples)",
        "fine-tuning large on sst2, seed 0 (100 samples)",
    ]
    assert made_plan.expected_s == pytest.approx(sum(step.seconds for step in made_plan.steps))
    assert replace(made_plan, steps=made_plan.steps[:1]).lines()[0].startswith("plan (1 step, about ")


def test_slower_machine_and_larger_model_take_longer(machine, small, large):
    """Expected times grow with the model's work and fall with the machine's speed."""
    machine(SLOW)
    slow = made([small, large], finetune=True).cells
    machine(FAST)
    fast = made([small, large], finetune=True).cells
    assert slow[1].expected_s > slow[0].expected_s > fast[0].expected_s


def test_earlier_decisions_are_kept(machine, small):
    """An interrupted session is continued with its own cut and number format, whatever the machine does today."""
    machine(SLOW)
    asked = request([small], max_train_minutes=1.0)
    encoders = gather(asked.models, may_be_random=False)
    first = planned(asked, encoders, print, None, lambda: "bf16")
    assert first.decisions["cuts"]["sst2"] is not None
    stored = json.loads(json.dumps(first.decisions))
    machine(FAST)
    again = planned(asked, encoders, print, stored, pytest.fail)
    assert [cell.work for cell in again.cells] == [cell.work for cell in first.cells]
    assert [cell.work.train for cell in again.cells] == [cell.work.train for cell in first.cells]
    assert again.decisions == first.decisions
    anew = planned(asked, encoders, print)
    assert anew.decisions == {"cuts": {"sst2": None}, "max_minutes": None, "training_dtype": "fp32"}
    assert not anew.cells[0].work.bf16_training
    assert not anew.cells[0].capped


def test_decision_against_a_cut_is_kept_too(machine, small):
    """What was trained whole before the interruption is not cut afterwards on a slower day."""
    machine(SLOW)
    asked = request([small], max_train_minutes=1.0)
    encoders = gather(asked.models, may_be_random=False)
    (cell,) = planned(asked, encoders, pytest.fail, {"cuts": {"sst2": None}, "training_dtype": "bf16"}).cells
    assert (cell.capped, len(cell.work.train), cell.work.bf16_training) == (False, 100, True)


def test_task_may_limit_its_training_samples(machine, small):
    """A task's recipe limits the training samples of every model; --train-samples goes first."""
    machine()
    task = task_spec(training={"epochs": 3, "batch_size": 4, "max_length": 16, "train_samples": 20})
    for options, expected in (({}, 20), ({"train_samples": 30}, 30)):
        asked = replace(request([small], **options), tasks=(task,))
        (cell,) = planned(asked, gather(asked.models, may_be_random=False), print).cells
        assert len(cell.work.train) == expected


def test_evaluated_model_is_not_touched_by_the_cap(machine, small, classifier):
    """A cap cuts what is trained; what is evaluated as it is stays uncapped beside it."""
    machine(SLOW)
    trained, evaluated = made([small, classifier], max_train_minutes=1.0).cells
    assert (trained.capped, evaluated.capped) == (True, False)
    assert trained.work.recipe.train_samples == len(trained.work.train) < 100
    assert evaluated.work.train is None


def test_speed_plans_no_quality(machine, small):
    """Where quality is not asked for a task gives its texts, and nothing is trained or evaluated."""
    machine()
    asked = replace(request([small]), kinds=("size", "speed", "memory"))
    found = planned(asked, gather(asked.models, may_be_random=False), lambda _: None)
    assert found.cells == ()
    assert len(found.data["sst2"].splits[0]) == 100
    assert len(found.steps) == 3


def test_published_recipe_is_for_training_only(machine, small, classifier):
    """What is fine-tuned has its published recipe; what is evaluated as it is keeps the task's."""
    machine()
    values = {"epochs": 7, "max_length": 8, "source": "a paper"}
    asked = replace(request([small, classifier]), recipes={name: {"sst2": values} for name in ("small", "tuned")})
    trained, evaluated = planned(asked, gather(asked.models, may_be_random=False), pytest.fail).cells
    assert (trained.work.recipe.epochs, trained.work.recipe.max_length, trained.work.recipe.source) == (7, 8, "a paper")
    assert evaluated.work.recipe == TASK.training


@pytest.mark.parametrize(("minutes", "capped"), [(40.0, [False, True]), (1.0, [True, True])])
def test_cap_lets_no_model_train_longer_than_its_recipe(machine, small, large, minutes, capped):
    """One cap for all: models with few epochs of their own keep them where they fit, and all see the same samples."""
    machine(SLOW)
    said = []
    asked = replace(
        request([small, large], max_train_minutes=minutes),
        recipes={"large": {"sst2": {"epochs": 1000, "batch_size": 10}}},
    )
    cells = planned(asked, gather(asked.models, may_be_random=False), said.append).cells
    assert [cell.capped for cell in cells] == capped
    assert cells[0].work.train == cells[1].work.train
    assert cells[0].work.recipe.epochs == min(3, cells[1].work.recipe.epochs)
    assert cells[1].work.recipe.epochs < 1000
    assert ("at most" in said[0]) == (not capped[0])


def test_a_budget_says_what_it_buys_and_what_more_would(machine, classifier):
    """Of a trained checkpoint as many examples are evaluated as fit; the plan says so, and what all of them would take."""
    machine(FAST)
    (whole,) = [line for line in planned_lines([classifier], max_minutes=15.0) if "evaluating" in line]
    assert "evaluating tuned on sst2 (100 examples)" in whole
    machine(2e4)
    lines = planned_lines([classifier], max_minutes=2.0, kinds=("quality",))
    assert re.search(r"evaluating tuned on sst2 \(\d\d of 100 examples\)", "\n".join(lines))
    assert "this fits into 2 minutes; more time makes it more precise" in lines[-1]
    assert re.search(r"--max-minutes \d+ evaluates every example", lines[-1])


def planned_lines(specs, kinds=None, **options):
    """The plan's lines where only what fits is evaluated."""
    asked = request(specs, samples=True, **options)
    asked = replace(asked, kinds=kinds or asked.kinds, started=time.monotonic())
    return planned(asked, gather(asked.models, may_be_random=False), lambda _: None).lines()


def test_training_that_teaches_nothing_is_left_out(machine, small, monkeypatch):
    """Where fewer than the useful samples fit, the cell says what it needs and the command that does it; asked for, it is done."""
    machine(SLOW)
    task = TASK.model_copy(update={"useful_samples": 90})

    def cells(**options):
        asked = replace(request([small], **({"samples": True} | options)), tasks=(task,), started=time.monotonic())
        return planned(asked, gather(asked.models, may_be_random=False), lambda _: None).cells

    (late,) = cells(max_minutes=1.0)
    assert (late.work, late.skipped.kind) == (None, "OutOfTime")
    assert re.fullmatch(
        r"needs fine-tuning, about .* here: `bertbench run --task sst2 --models small --full`", late.skipped.message
    )
    (fits,) = cells(max_minutes=600.0)
    assert len(fits.work.train) == 100
    (asked_for,) = cells(max_minutes=60.0, max_train_minutes=0.1)
    assert asked_for.capped
    (full,) = cells()
    assert (len(full.work.train), full.capped) == (100, False)


def test_a_cut_for_another_budget_is_forgotten(machine, small):
    """More time trains on more; the same time goes on with the same cut."""
    machine(SLOW)

    def cut(minutes, earlier=None):
        asked = replace(request([small], samples=True, max_minutes=minutes), started=time.monotonic())
        return planned(asked, gather(asked.models, may_be_random=False), lambda _: None, earlier).decisions

    short = cut(2.0)
    assert short["cuts"]["sst2"] is not None
    machine(FAST)
    assert cut(2.0, short)["cuts"] == short["cuts"]
    assert cut(20.0, short)["cuts"] == {"sst2": None}


def test_what_is_fine_tuned_already_is_not_left_out(machine, small, large):
    """A model whose whole training is in the store is shown, whatever time there is; another still says what it needs."""
    machine(SLOW)
    task = TASK.model_copy(update={"useful_samples": 90})
    asked = replace(request([small, large], samples=True, max_minutes=1.0), tasks=(task,), started=time.monotonic())
    encoders = gather(asked.models, may_be_random=False)

    def cells(done):
        made_plan = plan.make(
            asked, encoders, lambda _: None, None, lambda: "fp32", here[-1], lambda cell: cell.encoder.spec.name in done
        )
        return {cell.encoder.spec.name: cell for cell in made_plan.cells}

    one_done = cells({"small"})
    assert (len(one_done["small"].work.train), one_done["large"].work) == (100, None)
    all_done = cells({"small", "large"})
    assert [(cell.capped, cell.expected_s) for cell in all_done.values()] == [(False, 0.0), (False, 0.0)]
