"""What a reader must know of a figure: what is said of it, and which of it stands in the figure's cell."""

from dataclasses import replace

from bertbench.report.caveats import (
    MeasurementNote,
    OtherRecipe,
    RandomWeights,
    Remark,
    SampleOnly,
    TasksLeftOut,
    TrainingCapped,
    joined,
    remarks,
    words_beside,
)


def test_empty_texts_are_no_remarks():
    """What is None or empty is not said."""
    assert remarks(None, "a", "", "b") == (Remark("a"), Remark("b"))
    assert joined(()) == ""


def test_only_what_changes_the_figures_meaning_stands_beside_it():
    """Capped training, tasks that a mean leaves out and another way of learning stand in the cell; the rest is in the note."""
    caveats = (
        RandomWeights(),
        TrainingCapped(3000),
        TasksLeftOut(("cola",)),
        OtherRecipe("squad", "distilled", "bert", "fine-tuned"),
        MeasurementNote("without cola"),
        Remark("training capped"),
    )
    assert (
        words_beside(caveats)
        == "training capped: 3,000 samples; without cola; checkpoint distilled on squad, that of bert fine-tuned"
    )


def test_equal_caveats_are_one():
    """Caveats of several runs that say the same can be told to be the same."""
    assert len({RandomWeights(), RandomWeights(), TrainingCapped(5), TrainingCapped(5), TrainingCapped(None)}) == 3


def test_a_sample_is_said_with_its_size():
    """Beside a score stands of how many examples it is; of a mean over tasks also of which task."""
    one = SampleOnly(1024, 10_570, "questions")
    assert one.text == "1,024 of 10,570 questions"
    assert words_beside([one]) == one.text
    assert replace(one, task="squad").text == "squad: 1,024 of 10,570 questions"
