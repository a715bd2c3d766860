"""What a reader must know about how models were timed."""

from bertbench.records.cautions import caution
from bertbench.report.compare import notes
from tests.factories import record


def timed(model, attention):
    """The record of a model timed with an attention."""
    return record("speed", model, settings={"attention": attention, "backend": "eager", "dtype": "fp32"})


def test_different_attention_is_said_by_model():
    """Architectures are only compared by time where the attention is the same, so that a difference must be seen."""
    (line,) = notes._speed([timed("bert", "sdpa"), timed("mpnet", "eager"), timed("distilbert", "sdpa")])
    assert line == "speed: attention sdpa (bert, distilbert) and eager (mpnet), back-end eager fp32"


def test_one_attention_is_said_once():
    """Where it is the same for all, and where a back-end runs a file of its own, no model is named."""
    assert notes._attention([timed("bert", "sdpa"), timed("mpnet", "sdpa")]) == "attention sdpa"
    assert notes._attention([timed("bert", "sdpa"), timed("bert", "none")]) == "attention sdpa"
    assert notes._attention([timed("bert", None)]) is None


def test_shapes_that_spread_share_a_line():
    """What every speed record repeats is said once, with its subjects, of very many some, and the range of its figures."""
    cautions = (
        caution("few-rounds", rounds=3),
        *(caution("spread", f"bert {size}x128", spread=11 + size) for size in range(1, 10)),
    )
    records = [record("speed", model, warnings=cautions) for model in ("bert", "albert")]
    subjects = ", ".join(f"bert {size}x128" for size in range(1, 7))
    assert notes._warnings(records) == [
        "only 3 rounds were timed: intervals over so few are wide",
        f"{subjects} and 3 more: round medians spread by 12 to 20%; more rounds or a quieter machine would help",
    ]


def test_models_and_tasks_of_a_warning_are_named():
    """The task only where there are several, and not before what names it itself."""
    started, loaded = caution("random-start"), caution("data", text="sst2, train: 8 ids were replaced")
    bert = record("quality", "bert", task_name="sst2", warnings=(loaded, started))
    albert = record("quality", "albert", task_name="sst2", warnings=(started,))
    words = "started from random weights: its quality is that of training from scratch"
    assert notes._warnings([bert, albert]) == [f"bert: {loaded}", f"bert, albert: {words}"]
    other = record("quality", "bert", task_name="rte")
    assert notes._warnings([bert, albert, other]) == [f"bert: {loaded}", f"bert, albert: sst2, {words}"]


def test_what_was_cut_differs_by_model():
    """Tokenizers differ in lengths: their figures are a range."""

    def cut(count):
        return (caution("cut-examples", cut=count, examples=100, split="train", tokens=64),)

    records = [record("quality", model, warnings=cut(count)) for model, count in (("bert", 7), ("albert", 12))]
    assert notes._warnings(records) == [
        "bert, albert: 7 to 12 of 100 examples of train lose what is beyond the limit of 64 tokens"
    ]


def test_runs_taken_over_are_listed_by_model():
    """A line a model, with its runs."""
    records = [
        record("quality", model, seed=seed, warnings=(caution("taken-over", run=f"{model}-{seed}"),))
        for model in ("bert", "albert")
        for seed in (1, 2)
    ]
    assert notes._warnings(records) == [
        "bert: result of run bert-1, bert-2, not run again",
        "albert: result of run albert-1, albert-2, not run again",
    ]


def test_warnings_of_older_records_are_not_lost():
    """A warning that is a sentence does not say what kind it is, so it comes last, and is told."""
    old = record("speed", "bert", warnings=("the machine was busy",))
    new = record("quality", "albert", task_name="sst2", warnings=(caution("random-start"),))
    assert notes.grave_warnings([old]) == ["the machine was busy"]
    assert notes.grave_warnings([old, new])[-1] == "the machine was busy"


def test_a_model_is_named_once_where_figures_differ():
    """Seeds whose scores differ are of one model, however many others have one of the scores, too."""
    worst, equal = (caution("spread", "at once", spread=spread) for spread in (12, 15))
    records = [
        record("memory", model, warnings=(of_model,))
        for model, of_model in (("bert", worst), ("albert", worst), ("bert", equal))
    ]
    (line,) = notes._warnings(records)
    assert line.startswith("bert, albert: ")


def test_what_ranges_are_from_is_said():
    """The texts that a static quantization was calibrated on stand with the settings; of random ids a grave warning tells."""
    way = {"attention": "none", "backend": "openvino-int8", "dtype": "int8"}
    of_texts = way | {"calibration": {"task": "sst2", "split": "train", "examples": 300, "digest": "0"}}
    records = [record("speed", model, settings=of_texts) for model in ("bert", "albert")]
    assert notes._speed(records)[1:] == ["openvino-int8: ranges of activations from 300 texts of sst2 train"]
    warned = (caution("random-ranges", "bert", backend="openvino-int8", reason="no task is given"),)
    random = record("speed", "bert", settings=way | {"calibration": {"task": None}}, warnings=warned)
    assert len(notes._speed([random])) == 1
    (told,) = notes.grave_warnings([random])
    assert told.startswith(
        "bert: openvino-int8 took its ranges from random token ids (no task is given): its times hold, "
    )
