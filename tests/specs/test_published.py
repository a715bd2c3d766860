"""Published figures as data: base units, statuses, cautions, and files that are broken."""

import csv

import pytest

from bertbench.errors import ConfigError, UnknownNameError
from bertbench.specs.catalog import Catalog, packaged_folder
from bertbench.specs.published import COLUMNS, RELEASED, STATUSES, load, name_of, published_name, select
from tests import factories
from tests.specs.test_packaged import SHARED

ROW = ("mine", "sst2", "accuracy", "dev", "92.7", "points", "somewhere", "Table 1", "confirmed", "")


# Collected since: figures of newer models, and speeds that third parties published.
LATER = ("modern.csv", "speed.csv")
# What the collection calls otherwise than the released checkpoint, by whose name figures stand beside those measured.
CALLED = {
    "minilm-l12-h384": "MiniLM-L12-H384-uncased",
    "minilm-l6-h384": "MiniLM-L6-H384-uncased",
    "tinybert4": "TinyBERT_General_4L_312D",
    "tinybert6": "TinyBERT_General_6L_768D",
    "mobilebert": "mobilebert-uncased",
    "electra-small": "electra-small-discriminator",
    "electra-base": "electra-base-discriminator",
}


def rows_of(path):
    """The rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def figures():
    """What is packaged."""
    return load(Catalog())


def one(figures, **fields):
    """The only figure with these fields."""
    (found,) = (each for each in figures if all(getattr(each, name) == value for name, value in fields.items()))
    return found


def project(folder, *rows, columns=COLUMNS, name="mine"):
    """A config folder with a file of published figures."""
    path = folder / "published" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return Catalog([folder])


def test_packaged_figures_have_source_and_status(figures):
    """Every figure says where it stands and how it was confirmed; scores are shares of 1."""
    assert len(figures) > 1000
    assert all(figure.source and figure.status in STATUSES for figure in figures)
    scores = [figure for figure in figures if figure.printed_unit == "points"]
    assert all(-1 <= figure.value <= 1 and figure.unit == "1" for figure in scores)
    assert {figure.unit for figure in figures if figure.quantity in {"parameters", "flops"}} == {"1"}


def test_points_are_divided_and_units_are_base_units(figures):
    """Points become shares, millions and giga become numbers, as printed figures say beside them."""
    paper = {"source": "arXiv:1910.01108 (DistilBERT)", "model": "distilbert-base-uncased"}
    score = one(figures, **paper, place="Table 1", task="sst2")
    assert (score.value, score.printed, score.unit) == (0.913, "91.3", "1")
    assert one(figures, **paper, place="Table 3", quantity="parameters").value == 66e6
    assert one(figures, **paper, place="Table 3", quantity="inference_time").value == 410


def test_suspect_figure_is_kept_as_printed_with_a_warning(figures):
    """A figure that does not fit its own table is not corrected, but carries what is wrong with it."""
    figure = one(
        figures, source="arXiv:1910.01108 (DistilBERT)", model="bert-base-uncased", task="mnli", place="Table 1"
    )
    assert figure.printed == "86.7"
    assert figure.caution.startswith("suspect")
    assert "84.7" in figure.caution


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        ("answerdotai/ModernBERT-base", "ModernBERT-base"), ("bert-base-uncased", "bert-base-uncased"),
        ("google-bert/bert-base-uncased", "bert-base-uncased"), ("roberta-large", "roberta-large"),
        ("stranger/ModernBERT-base", "stranger/ModernBERT-base"), ("microsoft/bert-base-uncased", "microsoft/bert-base-uncased"),
        ("nreimers/roberta-base", "nreimers/roberta-base"), ("./google-bert/bert-base-uncased", None), ("ModernBERT-base", None),
        ("./ModernBERT-base", None), ("/home/me/ModernBERT-base", None), (None, None),
    ],
)  # fmt: skip
def test_figures_are_of_released_checkpoints(checkpoint, name):
    """What somebody else calls by the same name, a releaser of other models included, is another, of which nothing is published."""
    assert published_name(checkpoint) == name


@pytest.mark.parametrize("folder", ["ModernBERT-base", "bert-base-uncased", "google-bert/bert-base-uncased"])
def test_a_folder_has_the_name_of_no_release(tmp_path, monkeypatch, folder):
    """A folder goes before the hub's checkpoint of that name, and has figures only as the folder of a packaged model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(parents=True)
    assert name_of(factories.model_spec("mine", checkpoint=folder)) is None
    assert name_of(factories.model_spec(f"./{folder}", checkpoint=folder)) is None
    assert name_of(factories.model_spec("bert", checkpoint=folder)) == "bert-base-uncased"


def test_packaged_checkpoints_are_released():
    """No packaged model loses its figures."""
    catalog = Catalog()
    checkpoints = [catalog.model(name).checkpoint for name in catalog.entries("models")]
    named = [checkpoint for checkpoint in checkpoints if checkpoint]
    assert [published_name(checkpoint) for checkpoint in named] == [each.rpartition("/")[2] for each in named]
    assert {checkpoint.rpartition("/")[0] for checkpoint in named} == RELEASED.keys()


def test_users_files_are_added(tmp_path):
    """A project's own file adds figures; one of a packaged name stands in its place."""
    mine = load(project(tmp_path, ROW))
    assert one(mine, model="mine").value == pytest.approx(0.927)
    assert len(mine) > 1000
    assert len(load(project(tmp_path, name="albert"))) < len(mine)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([ROW], COLUMNS[1:], "line 1: not the columns"),
        ([ROW, ROW[:4]], COLUMNS, "line 3: not 10 fields"),
        ([(*ROW, "more")], COLUMNS, "line 2: not 10 fields"),
        ([(*ROW[:4], "many", *ROW[5:])], COLUMNS, "line 2: value 'many' is not a number"),
        ([(*ROW[:4], "nan", *ROW[5:])], COLUMNS, "line 2: value 'nan' is not a number"),
        ([(*ROW[:8], "sure", "")], COLUMNS, "line 2: status 'sure'"),
    ],
)
def test_broken_file_is_named_with_its_line(tmp_path, rows, columns, message):
    """What is wrong with a file of figures is said in one line with its place."""
    with pytest.raises(ConfigError, match=message) as error:
        load(project(tmp_path, *rows, columns=columns))
    assert "mine.csv" in str(error.value)


def test_selection_by_name_and_pattern(figures):
    """Names are matched whole, * stands for anything, and a name that no figure has is an error."""
    assert {figure.task for figure in select(figures, "task", ["sst2", "rte"])} == {"sst2", "rte"}
    assert {figure.model for figure in select(figures, "model", ["albert-*-v2"])} >= {
        "albert-base-v2",
        "albert-xlarge-v2",
    }
    assert select(figures, "task", []) == figures
    with pytest.raises(UnknownNameError, match="did you mean 'sst2'"):
        select(figures, "task", ["sst-2"])


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared")
def test_figures_are_the_collected_ones(figures):
    """No figure was lost or changed: values and statuses are those of the collection they come from."""
    with (SHARED / "reference/published.csv").open(encoding="utf-8") as stream:
        collected = sorted(
            (CALLED.get(row["model"], row["model"]), row["value"], row["table"], row["status"])
            for row in csv.DictReader(stream)
        )
    later = [row for path in packaged_folder().glob("published/*.csv") if path.name in LATER for row in rows_of(path)]
    rest = [(each.model, each.printed, each.place, each.status) for each in figures]
    for row in later:
        rest.remove((row["model"], row["value"], row["place"], row["status"]))
    assert sorted(rest) == collected


def test_file_that_a_spreadsheet_saved(tmp_path):
    """A byte-order mark and other line ends change nothing; blanks and semicolons in the header are named."""
    catalog = project(tmp_path, ROW)
    path = tmp_path / "published/mine.csv"
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert one(load(catalog), model="mine").value == 0.927
    for mark, hint in ((" ,", "take the blanks out"), (";", "separate them by commas")):
        path.write_text(text.replace(",", mark))
        with pytest.raises(ConfigError) as caught:
            load(catalog)
        assert "mine.csv, line 1: not the columns" in caught.value.message
        assert hint in caught.value.hint
    path.write_text(text, encoding="utf-16")
    with pytest.raises(ConfigError, match="UTF-16: save it as UTF-8"):
        load(catalog)
