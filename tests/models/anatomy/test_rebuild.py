import pytest

from bertbench.errors import ConfigError
from bertbench.models.anatomy.rebuild import rebuild, rounds_to
from bertbench.models.architecture import config_of
from bertbench.specs.catalog import Catalog
from bertbench.specs.papers import PaperSpec

WITH, WITHOUT = "with pooler", "without pooler"
EXPECTED = {
    "albert-table-1": [
        (108, 109_081_344, (WITHOUT,)),
        (334, 334_607_360, (WITHOUT,)),
        (12, 11_683_584, (WITH,)),
        (18, 17_683_968, (WITH,)),
        (60, 58_724_864, ()),
        (235, 222_595_584, ()),
    ],
    "albert-table-3": [
        (87, 87_648_000, (WITHOUT,)),
        (89, 89_650_176, (WITHOUT,)),
        (93, 93_654_528, (WITHOUT,)),
        (108, 109_081_344, (WITHOUT,)),
        (10, 9_681_408, (WITH,)),
        (12, 11_683_584, (WITH,)),
        (16, 15_687_936, (WITH,)),
        (31, 31_114_752, (WITH, WITHOUT)),
    ],
    "albert-table-4": [
        (31, 31_114_752, (WITH, WITHOUT)),
        (83, 83_078_400, (WITH,)),
        (57, 57_117_696, (WITH, WITHOUT)),
        (108, 109_081_344, (WITHOUT,)),
        (12, 11_683_584, (WITH,)),
        (64, 63_647_232, (WITH,)),
        (38, 37_686_528, (WITH,)),
        (89, 89_650_176, (WITHOUT,)),
    ],
    "distilbert-table-3": [(110, 109_482_240, (WITH, WITHOUT)), (66, 66_362_880, ("no pooler",))],
}


def config(name):
    """A packaged model's configuration."""
    return config_of(Catalog().model(name))


def paper(**row):
    """A paper of one cell."""
    cell = {"label": "one", "model": "bert-mini", "parameters": 145_000, "rounded_to": 1000} | row
    return PaperSpec(name="mine", title="Mine", source="s", parameters=[cell])


@pytest.mark.parametrize("name", EXPECTED)
def test_published_tables_are_rebuilt(name):
    """Every published number of parameters is found by counting, or is one of the two that are known to differ."""
    cells = list(rebuild(Catalog().paper(name), config))

    assert [(cell.published / 1e6, cell.unique, cell.matches) for cell in cells] == EXPECTED[name]
    assert all(cell.as_expected for cell in cells)
    assert all(cell.note for cell in cells if not cell.matches)


def test_a_wrong_figure_is_not_as_expected():
    """A cell that counting does not give, and one that it gives against expectation, are surprises."""
    (right,) = rebuild(paper(), config)
    (wrong,) = rebuild(paper(parameters=146_000), config)
    (surprise,) = rebuild(paper(expected="differs", note="why"), config)

    assert [cell.as_expected for cell in (right, wrong, surprise)] == [True, False, False]


def test_rounding_is_to_the_published_digits():
    """A count agrees within half a step of the published figure."""
    assert rounds_to(87_057_408, 87e6, 1e6)
    assert not rounds_to(87_648_000, 87e6, 1e6)
    assert rounds_to(109_482_240, 110e6, 1e7)


def test_a_description_that_cannot_be_built_names_the_cell():
    """A width above the hidden size in a paper's YAML is a line with the paper and the cell."""
    with pytest.raises(ConfigError, match="paper 'mine', 'one': --embedding-size 65: larger than the hidden size"):
        list(rebuild(paper(embedding_size=65), config))
