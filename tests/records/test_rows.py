"""A session's rows as bytes: what comes back is what went in, and nothing else comes back."""

import pyarrow as pa
import pytest

from bertbench.records import rows
from tests.factories import SETTINGS, failed, predictions, quality_record, session_record, size_record

TABLE = rows.table_of(session_record(), [size_record(), failed("memory")])


def test_rows_survive_being_packed():
    """A table is the same after it was packed, a row a measurement and one for a failed run."""
    assert rows.unpacked(rows.packed(TABLE, "files"), "files").equals(TABLE)
    assert TABLE["status"].to_pylist() == ["ok"] * 5 + ["failed"]


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, rows.packed(TABLE, "other files"), rows.packed(TABLE, "files")[:-9]]
)
def test_other_bytes_are_no_rows(content):
    """What is damaged, or was packed of other files, is refused."""
    with pytest.raises(ValueError, match="damaged"):
        rows.unpacked(content, "files")


@pytest.mark.parametrize("size", [rows.MOST_BYTES + 1, 2**63, 10])
def test_sizes_are_not_believed(size):
    """Bytes that state another size, or more than a session's rows take, are refused although their sum fits."""
    body = size.to_bytes(8, "big") + rows.packed(TABLE, "files")[24:]
    with pytest.raises(ValueError, match=r"."):
        rows.unpacked(rows._sum(body, "files") + body, "files")


def test_other_columns_are_refused():
    """A table that is none of ours is refused although its sum fits."""
    with pytest.raises(ValueError, match="other columns"):
        rows.unpacked(rows.packed(pa.table({"x": [1]}), "files"), "files")


def test_seeds_with_draws_of_their_own_have_one_recipe():
    """How many different examples a draw holds is the seed's, not the recipe's; that there are draws is the recipe's."""
    ways = [{}, *({"resample_training": True, "train_distinct": count} for count in (62, 64))]
    records = [
        quality_record("bert", predictions(0.8), settings=SETTINGS | {"mode": "fine-tune"} | way) for way in ways
    ]
    plain, drawn, other = (rows.table_of(session_record(), [each])["recipe"].to_pylist()[0] for each in records)
    assert plain != drawn == other
