import pytest

from bertbench.backends._inputs import natural_ids, padded, random_ids
from bertbench.errors import MeasurementError
from bertbench.specs import ShapeSpec


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
    """The index counts whole batches, modulo their number."""
    shape = ShapeSpec(batch_size=2, sequence_length=None)
    batches = [[[1], [2]], [[3], [4]], [[5]]]
    assert natural_ids(shape, batches, 0) == natural_ids(shape, batches, 2) == [[1], [2]]
    assert natural_ids(shape, batches, 1) == [[3], [4]]
    with pytest.raises(MeasurementError, match=r"4xnatural.*batches of 4"):
        natural_ids(ShapeSpec(batch_size=4, sequence_length=None), batches, 0)


def test_padding():
    """Rows are filled to the longest with the model's padding, and masked there."""
    assert padded([[7, 8, 9], [7]], pad_id=1) == ([[7, 8, 9], [7, 1, 1]], [[1, 1, 1], [1, 0, 0]])
