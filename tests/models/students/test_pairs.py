"""Teachers before students, and pairs that do not go together."""

from pathlib import Path

import pytest

from bertbench.errors import ConfigError
from bertbench.models.sources import Source
from bertbench.models.students.pairs import check_pair, teachers_first
from tests.factories import model_spec


def spec(name, teacher=None, **fields):
    """A model, perhaps with a teacher."""
    taught = {"checkpoint": None, "config": {"hidden_size": 32}, "distill": {"teacher": teacher}} if teacher else {}
    return model_spec(name, **(taught | fields))


def order(*specs):
    """Names in the order in which they are trained."""
    return [one.name for one in teachers_first(specs, lambda one: one)]


def test_students_come_after_their_teachers():
    """Also over several generations; others keep their order."""
    assert order(spec("c", "b"), spec("x"), spec("b", "a"), spec("a")) == ["x", "a", "b", "c"]


def test_nobody_teaches_itself():
    """Also not over others."""
    with pytest.raises(ConfigError, match="is its own teacher"):
        order(spec("a", "b"), spec("b", "a"))


def test_vocabularies_must_be_equal(tiny, tmp_path):
    """An existing student reads the same tokens as its teacher, or is refused before any work."""
    folder = tiny("bert")
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\n")
    (other / "config.json").write_text('{"model_type": "bert"}')
    teacher = Source(spec("bert"), folder, folder, "pretrained", "d")
    distill = {"teacher": "bert", "start": "checkpoint"}
    student = Source(model_spec("small", distill=distill), folder, other, "pretrained", "d")
    with pytest.raises(ConfigError, match="vocabulary of 6 tokens is not that of its teacher bert"):
        check_pair(student, teacher)
    check_pair(Source(student.spec, folder, Path(folder), "pretrained", "d"), teacher)
