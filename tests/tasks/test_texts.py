"""Text without labels: every kind of file, streamed, and what is wrong with it named."""

import json

import pandas as pd
import pytest

from bertbench.errors import DatasetError
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.tasks.texts import Texts, blocks

LINES = ["one two", "", "three"]


@pytest.mark.parametrize("ending", [".txt", ".parquet", ".jsonl", ".csv"])
def test_every_kind_of_file_is_read(tmp_path, ending):
    """A file or a folder of them; empty texts are left out."""
    path = tmp_path / f"a{ending}"
    frame = pd.DataFrame({"text": LINES})
    if ending == ".txt":
        path.write_text("\n".join(LINES))
    elif ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".csv":
        frame.fillna("").to_csv(path, index=False)
    else:
        path.write_text("\n".join(json.dumps({"text": line}) for line in LINES))
    found = [text for text in (Texts(str(path)), Texts(str(tmp_path))) for text in [list(text)]]
    assert found == [["one two", "three"]] * 2


def test_columns_are_named(tmp_path):
    """Another column is asked for by name; a missing one is answered with those there are."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"body": "words", "number": 3}))
    assert list(Texts(str(path), "body")) == ["words"]
    with pytest.raises(DatasetError, match=r"no column 'text' \(columns: body, number\)"):
        list(Texts(str(path)))
    with pytest.raises(DatasetError, match="row 0: expected text, found 3"):
        list(Texts(str(path), "number"))


def test_what_cannot_be_read_is_said(tmp_path):
    """No such place, no files of a known kind, several kinds, and a damaged file."""
    with pytest.raises(DatasetError, match="no such file or folder"):
        list(Texts(str(tmp_path / "nothing")))
    with pytest.raises(DatasetError, match="no file of these kinds"):
        list(Texts(str(tmp_path)))
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(DatasetError, match="cannot be read"):
        list(Texts(str(tmp_path)))
    (tmp_path / "b.txt").write_text("text")
    with pytest.raises(DatasetError, match="files of several kinds"):
        list(Texts(str(tmp_path)))


def test_a_hub_that_cannot_be_reached_is_said_at_once():
    """A hub id needs the hub."""
    with pytest.raises(DatasetError, match="the hub cannot be reached"):
        list(Texts("owner/name:subset"))


def test_what_is_missing_is_told_without_reading(tmp_path):
    """The quick look refuses what reading would, and opens no file."""
    for source, message in (
        (tmp_path / "nothing", "no such file"),
        (tmp_path, "no file of"),
        ("a/b", "cannot be reached"),
    ):
        with pytest.raises(DatasetError, match=message):
            Texts(str(source)).check()
    (tmp_path / "a.parquet").write_text("no parquet")
    Texts(str(tmp_path)).check()


def test_blocks_hold_every_token_once():
    """Full blocks with special tokens around, the rest at the end; nothing is lost or doubled."""
    tokenizer = build_tokenizer()
    texts = ["the film is good"] * 7
    made = list(blocks(iter(texts), tokenizer, 8))
    assert [len(block) for block in made[:-1]] == [8] * (len(made) - 1)
    assert all((block[0], block[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id) for block in made)
    flat = [token for block in made for token in block[1:-1]]
    assert flat == tokenizer(texts[0], add_special_tokens=False)["input_ids"] * 7


@pytest.mark.parametrize(("name", "content"), [("a.txt", "first\nlast\n"), ("a.csv", "text\nfirst\nlast\n")])
def test_byte_order_mark_is_no_text(tmp_path, name, content):
    """UTF-8 with a byte-order mark gives the same texts; another encoding is refused with what to do."""
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    assert list(Texts(str(tmp_path / name))) == ["first", "last"]
    (tmp_path / name).write_text(content, encoding="utf-16")
    with pytest.raises(DatasetError, match="is not UTF-8") as caught:
        list(Texts(str(tmp_path / name)))
    assert caught.value.hint == "save the files as UTF-8"
