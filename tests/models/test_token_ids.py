import pytest

from bertbench.errors import MeasurementError
from bertbench.models.token_ids import natural_ids, padded, ragged_ids, random_ids
from bertbench.specs.timing import ShapeSpec


def test_random_ids_are_seeded_and_ordinary():
    """Ids have the shape asked for, avoid the special tokens and repeat with the seed."""
    shape = ShapeSpec(batch_size=3, sequence_length=50)
    ids = random_ids(shape, 100, seed=1)
    assert [len(row) for row in ids] == [50] * 3
    assert {min(map(min, ids)) >= 5, max(map(max, ids)) < 100} == {True}
    assert ids == random_ids(shape, 100, seed=1) != random_ids(shape, 100, seed=2)


def test_random_ids_of_a_tiny_vocabulary():
    """A vocabulary without ordinary ids is used whole."""
    assert set(random_ids(ShapeSpec(), 3, seed=0)[0]) == {0, 1, 2}


def test_natural_batches_wrap_around():
    """Batches are consecutive examples; the index counts whole batches, modulo their number, and what is left is unused."""
    shape = ShapeSpec(batch_size=2, sequence_length=None)
    examples = [[1], [2], [3], [4], [5]]
    assert natural_ids(shape, examples, 0) == natural_ids(shape, examples, 2) == [[1], [2]]
    assert natural_ids(shape, examples, 1) == [[3], [4]]
    with pytest.raises(MeasurementError, match=r"8xnatural: a batch takes 8 inputs, and there are 5"):
        natural_ids(ShapeSpec(batch_size=8, sequence_length=None), examples, 0)


def test_ragged_rows_are_seeded_and_of_many_lengths():
    """Rows for an audit vary in length within the limit, hold ordinary tokens and repeat with the seed."""
    rows = ragged_ids(20, 30, 100, seed=0)
    assert rows == ragged_ids(20, 30, 100, seed=0) != ragged_ids(20, 30, 100, seed=1)
    assert len({len(row.ids) for row in rows}) > 5
    assert all(4 <= len(row.ids) <= 30 and min(row.ids) >= 5 for row in rows)
    assert [len(row.ids) for row in ragged_ids(2, 3, 100, seed=0)] == [3, 3]


def test_padding():
    """Rows are filled to the longest with the model's padding, and masked there."""
    assert padded([[7, 8, 9], [7]], pad_id=1) == ([[7, 8, 9], [7, 1, 1]], [[1, 1, 1], [1, 0, 0]])
