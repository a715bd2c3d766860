"""The grid in units: every machine cuts it alike, each unit is in one shard, and a shard needs no more than its own."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import UsageError
from bertbench.session.options import StudyOptions
from bertbench.session.parts import Shard, Unit
from bertbench.session.request import Options, Request, answers, same_recipe
from bertbench.session.study import resolve_options
from bertbench.specs.models import DistillSpec, FineTuned
from bertbench.specs.suites import SuiteSpec
from tests.factories import model_spec, task_spec

KINDS = ("size", "speed", "memory", "quality")
TEACHER, OTHER = model_spec("teacher"), model_spec("other")
STUDENT = model_spec("student", distill=DistillSpec(teacher="teacher", start="checkpoint"))
PUBLISHED = model_spec("published", finetuned={"sst2": FineTuned(checkpoint="someone/else", revision="a" * 40)})
TASKS = (task_spec("sst2"), task_spec("rte"))


def grid(models=(TEACHER, OTHER, STUDENT), *, tasks=TASKS, seeds=(0, 1), kinds=KINDS, **options):
    """A request for all of a grid."""
    suite = SuiteSpec(name="base", title="Base", models=("teacher",), reference="teacher")
    return Request(
        "run",
        (),
        suite,
        tuple(models),
        models[0].name,
        tuple(tasks),
        Options(seeds=seeds, **options),
        may_be_random=False,
        kinds=kinds,
    )


def labels(request):
    """What a request measures, in words."""
    return [unit.label for unit in request.part.units]


def test_units_are_the_cost_of_all_models_then_task_by_task_and_seed_by_seed():
    """Size, speed and memory stay together, and what is trained is apart for every seed."""
    units = grid((TEACHER, OTHER), tasks=TASKS[:1]).units
    assert [unit.label for unit in units] == [
        "size, speed and memory", "teacher on sst2, seed 0", "teacher on sst2, seed 1", "other on sst2, seed 0", "other on sst2, seed 1",
    ]  # fmt: skip
    assert [unit.is_cost for unit in units] == [True, False, False, False, False]


def test_every_pair_of_a_grid_of_seeds_is_a_unit():
    """Each pair is measured once, whichever shard it is in, and a shard takes its own pairs alone."""
    whole = grid((TEACHER,), tasks=TASKS[:1], kinds=("quality",), data_seeds=(0, 5))
    assert [unit.label.rpartition(" ")[2] for unit in whole.units] == ["0/0", "0/5", "1/0", "1/5"]
    shard = whole.shard(Shard(2, 2))
    taken = [pair for pair in whole.options.seed_pairs if shard.takes("teacher", "sst2", *pair)]
    assert taken == [(0, 5), (1, 5)]


def test_without_quality_there_is_one_unit():
    """Timing ratios exist only side by side, so that there is nothing to share out."""
    assert grid(kinds=("size", "speed")).units == [Unit()]


def test_a_published_checkpoint_is_evaluated_once_for_all_seeds():
    """Where one is published its unit has all seeds, whatever becomes of it; --finetune trains it seed by seed."""
    assert grid((PUBLISHED,), tasks=TASKS[:1], kinds=("quality",)).units == [Unit("published", "sst2", (0, 1))]
    assert len(grid((PUBLISHED,), tasks=TASKS[:1], kinds=("quality",), finetune=True).units) == 2


@given(st.integers(1, 12), st.integers(1, 4), st.sets(st.sampled_from(KINDS), min_size=1))
def test_shards_have_every_unit_once(count, seeds, kinds):
    """Together they are the grid; no unit is in two of them."""
    whole = grid(seeds=tuple(range(seeds)), kinds=tuple(kind for kind in KINDS if kind in kinds))
    numbers = [number for index in range(1, count + 1) for number in whole.shard(Shard(index, count)).part.numbers]
    assert sorted(numbers) == list(range(len(whole.units)))


def test_a_shard_asks_for_no_more_than_its_own():
    """Models, tasks and kinds that it does not need are neither loaded nor fetched; the reference is then another."""
    whole = grid((TEACHER, OTHER), seeds=(0,))  # cost, then teacher and other on sst2, the same on rte
    share = whole.shard(Shard(3, 5))
    assert labels(share) == ["other on sst2, seed 0"]
    assert [spec.name for spec in share.models] == ["other"]
    assert [task.name for task in share.tasks] == ["sst2"]
    assert (share.kinds, share.reference) == (("quality",), "other")
    cost = whole.shard(Shard(1, 5))
    assert (cost.models, cost.tasks, cost.kinds) == (whole.models, whole.tasks, ("size", "speed", "memory"))
    assert cost.reference == "teacher"


def test_a_student_takes_its_teacher_along():
    """A shard with a student trains the teacher too, with the same seed, and nothing else."""
    whole = grid(kinds=("quality",))
    number = [unit.label for unit in whole.units].index("student on sst2, seed 1")
    share = whole.only([number], "student")
    assert [spec.name for spec in share.models] == ["teacher", "student"]
    taken = [
        (model, seed)
        for model in ("teacher", "other", "student")
        for seed in (0, 1)
        if share.takes(model, "sst2", seed)
    ]
    # Its seed 0 is needed where the teacher is evaluated as it is, which the grid does not know.
    assert taken == [("teacher", 0), ("teacher", 1), ("student", 1)]
    assert not share.takes("teacher", "rte", 1)


def test_more_shards_than_units_leave_some_with_nothing():
    """They are no error: a job array need not know how many cells there are."""
    share = grid((TEACHER,), tasks=TASKS[:1], seeds=(0,)).shard(Shard(3, 3))
    assert (share.part.units, share.models, share.kinds) == ((), (), ())


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "1.5/2", "1/1000000"])
def test_what_is_no_shard_is_refused(text):
    """An index from 1 and a count, or one line that says so."""
    with pytest.raises(UsageError, match="expected i/n"):
        Shard.parse(text)


def test_shards_do_not_answer_for_the_whole_nor_for_each_other():
    """A stored shard is found by the same shard alone."""
    whole = grid((TEACHER, OTHER))
    requests = [whole, whole.shard(Shard(1, 2)), whole.shard(Shard(2, 2))]
    for asked in requests:
        for other in requests:
            digests, data = {spec.name: "x" for spec in whole.models}, {task.name: "y" for task in TASKS}
            stored = other.canonical(digests, data, "here")
            assert answers(stored, asked.canonical(digests, data, "here")) is (asked is other)
            assert same_recipe(stored, asked.recipe_parts()) is (asked is other)


def test_all_parts_were_asked_the_same():
    """Whether or not a part measures quality, its options are those of the grid, so that the parts are known as one."""
    whole = grid((TEACHER, OTHER))
    options = [
        whole.only([number], "x").canonical({"teacher": "", "other": ""}, {"sst2": "", "rte": ""}, "")["options"]
        for number in range(3)
    ]
    assert options[0] == options[1] == options[2]


@pytest.mark.parametrize("limit", [{"max_minutes": 5.0}, {"max_train_minutes": 5.0}])
def test_time_limits_do_not_go_with_shards(limit):
    """In the same time two machines do different amounts, so that the scores would not be comparable."""
    with pytest.raises(UsageError, match="--shard and --max-"):
        resolve_options(StudyOptions(shard="1/2", **limit), 1, "compare")


def test_shards_decide_nothing_by_the_speed_of_their_machine():
    """No time limit, no cap on training and no number format that is tried out, on a CPU either."""
    options = resolve_options(StudyOptions(shard="1/2", device="cpu", results_dir=Path("x")), 1, "distill")
    assert (options.max_minutes, options.train_cap_s, options.may_use_bf16) == (None, None, False)
    assert not resolve_options(StudyOptions(shard="1/2", device="cpu"), 1, "compare").may_use_bf16
