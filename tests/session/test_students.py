"""Students that are distilled on text: which they are, where they go, and what is refused before any work."""

from pathlib import Path

import pytest

from bertbench.errors import UsageError
from bertbench.models.students.derive import StudentOptions
from bertbench.quality.pretrain import Pretraining
from bertbench.session.students import Distilled, check_texts, students_of
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import DistillSpec, PretrainSpec

TEACHER = Catalog().model("bert-mini")
WANTED = StudentOptions(DistillSpec(teacher="bert-mini"))


def students(ablation=None, **recipe):
    """The students of bert-mini."""
    return students_of(TEACHER, WANTED, PretrainSpec(**recipe), ablation, Path("out"))


def test_one_student_lies_in_the_folder_itself():
    """Without an ablation there is one, with the recipe as it is."""
    (student,) = students(steps=7)
    assert (student.folder, student.recipe.steps) == (Path("out"), 7)


def test_an_ablation_of_losses_leaves_out_one_each():
    """The same student with all losses, without each of them, and from random weights, in folders of their own."""
    varied = {student.folder.name: student.recipe for student in students("losses")}
    assert set(varied) == {"full", "no-soft", "no-mlm", "no-cos", "random-start"}
    assert (varied["no-mlm"].alpha_mlm, varied["no-mlm"].alpha_soft) == (0.0, varied["full"].alpha_soft)
    assert (varied["random-start"].start, varied["full"].start) == ("random", "teacher")


def test_an_ablation_of_losses_starts_from_all_of_them():
    """A loss that is left out already cannot be compared with itself."""
    with pytest.raises(UsageError, match="starts from all losses"):
        students("losses", alpha_soft=0.0)


def test_a_saved_student_is_a_model_of_its_own_weights():
    """It is called by its folder and is taught no more."""
    (student,) = students()
    model = Distilled(student, Pretraining(steps=1, tokens=1, seconds=1.0, losses={})).as_model()
    assert (model.name, model.checkpoint, model.config, model.distill) == ("out", "out", None, None)


def test_texts_longer_than_the_teachers_limit_are_refused():
    """Before hours of distillation."""
    with pytest.raises(UsageError, match="100000"):
        check_texts(TEACHER, 100_000)
