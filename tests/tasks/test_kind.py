"""How much is tokenized at once, and texts that are longer than any."""

import json

import pytest

from bertbench.errors import DatasetError
from bertbench.tasks import data
from bertbench.tasks.examples import Examples
from bertbench.tasks.kind import portions
from bertbench.tasks.kinds import sequence_classification
from bertbench.tasks.texts import Texts
from tests.factories import task_spec

INPUTS = [(f"text {number}", "b" * number) for number in range(10)]


@pytest.mark.parametrize(("most", "characters"), [(1, 10**6), (3, 10**6), (100, 10**6), (100, 20), (100, 1)])
def test_portions_hold_every_example_once_in_order(most, characters):
    """However they are cut, all examples come in order, at most so many at once, a long one alone."""
    found = list(portions(INPUTS, most, characters))
    assert [example for _, part in found for example in part] == INPUTS
    assert [start for start, _ in found] == [sum(len(part) for _, part in found[:i]) for i in range(len(found))]
    assert all(len(part) <= most for _, part in found)
    assert all(len(part) == 1 or sum(len(a) + len(b) for a, b in part) <= characters for _, part in found)
    assert list(portions([], most)) == []


def test_portions_change_no_token(monkeypatch):
    """Features and the count of what was cut are the same however many texts are tokenized at once."""
    from bertbench.models.demo_tokenizer import build_tokenizer

    task = task_spec("demo-sentiment", inputs=("sentence",), labels=("negative", "positive"))
    sentences = [("good film " * number,) for number in range(1, 30)]
    examples = Examples("validation", tuple(map(str, range(29))), tuple(sentences), (0.0,) * 29, 29)
    found = []
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(sequence_classification, "CHUNK", chunk)
        found.append(sequence_classification.PLUGIN.encode(build_tokenizer(), task, examples, 16, token_types=True))
    assert found[0] == found[1] == found[2]
    assert found[0].cut > 0


def test_a_text_longer_than_any_is_refused_with_its_line(tmp_path):
    """It would be tokenized whole, at a hundred times its size, before it is cut."""
    folder = tmp_path / "sst2"
    folder.mkdir()
    rows = [{"sentence": "short", "label": 0}, {"sentence": "long " * 1_000_001, "label": 1}]
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"line 2.*a text of 5,000,005 characters, expected at most 5,000,000"):
        data.load(task_spec(), "validation", tmp_path)


def test_a_line_of_unlabelled_text_longer_than_any_is_refused(tmp_path):
    """The same for text that models are pre-trained on."""
    (tmp_path / "corpus.txt").write_text("short\n" + "long " * 1_000_001 + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"row 1: a text of 5,000,00[45] characters"):
        list(Texts(str(tmp_path / "corpus.txt")))
