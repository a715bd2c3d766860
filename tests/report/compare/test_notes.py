"""What a reader must know about how models were timed."""

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
