import csv
import io
import json

import pytest
import torch

from bertbench import cli
from bertbench.models.anatomy import clock
from bertbench.specs.catalog import Catalog


@pytest.fixture(autouse=True)
def same_threads():
    """Timing sets torch's threads; they are put back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shown(capsys):
    """What a command line prints: `shown("--models", "bert-mini")`."""

    def run(*arguments, code=0):
        assert cli.main(["anatomy", *arguments]) == code
        return capsys.readouterr().out

    return run


@pytest.fixture
def rows(shown):
    """The long rows of a command line, by model, quantity and statistic."""

    def read(*arguments, code=0):
        text = shown(*arguments, "--format", "csv", code=code)
        return {(row["model"], row["quantity"], row["statistic"]): row for row in csv.DictReader(io.StringIO(text))}

    return read


@pytest.fixture
def error(capsys):
    """The one line that a command line is refused with."""

    def refuse(*arguments, code=2):
        assert cli.main(["anatomy", *arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        return line.removeprefix("Error: ")

    return refuse


def test_models_stand_side_by_side(shown):
    """Without options: the base suite's three, a table a quantity, shares beside figures, what ALBERT saves below."""
    text = shown()

    assert "| Word embeddings              |  23,440,896  21.4% | 23,440,896  35.3% |  3,840,000  32.9% |" in text
    assert "| Total                        | 109,482,240 100.0% | 66,362,880 100.0% | 89,650,176 100.0% |" in text
    assert "What each technique saves: albert" in text
    assert "saves: bert" not in text


def test_parts_are_rows_that_add_up(rows):
    """Each part is a row 'unique/<component>'; they add up to the total, and FLOPs carry their shape."""
    found = rows("--models", "bert-mini,albert-mini", "--sequence-length", "64", "--batch-size", "2")
    parts = [
        float(row["value"]) for key, row in found.items() if key[2].startswith("unique/") and key[0] == "albert-mini"
    ]

    assert sum(parts) == float(found["albert-mini", "parameters", "unique"]["value"])
    flops = found["albert-mini", "flops", "value/feed_forward"]
    assert (flops["batch_size"], flops["sequence_length"], flops["status"]) == ("2", "64", "ok")
    assert flops["note"].endswith("% of the model's")
    total = found["albert-mini", "parameter_bytes", "value"]
    assert total["reference"] == "bert-mini"
    assert float(total["ratio"]) == pytest.approx(float(total["value"]) / 4 / 145_088)


def test_layers_are_lines(rows):
    """With --by layer the parts are places of the pass."""
    found = rows("--models", "albert-mini", "--by", "layer")

    assert ("albert-mini", "parameters", "executed/layer-2") in found
    assert ("albert-mini", "parameters", "unique/layer-2") not in found
    assert ("albert-mini", "parameters", "unique/before-layers") in found


def test_switches_show_the_variant_beside_the_model(rows, shown):
    """The model comes first, then what the switches make of it, and what each of them saved."""
    switches = ("--models", "bert", "--embedding-size", "128", "--share", "all", "--layers", "6")
    found, variant = rows(*switches), "bert+E128+share-all+6-layers"

    saved = [
        float(found[variant, "parameters", f"saved/{each}"]["value"]) for each in ("layers", "factorizing", "tying")
    ]
    whole, left = (float(found[name, "parameters", "unique"]["value"]) for name in ("bert", variant))
    assert whole - sum(saved) == left == 11_750_400
    assert float(found[variant, "parameter_bytes", "saved/tying"]["value"]) == 4 * saved[2]
    assert found[variant, "flops", "saved/tying"]["value"] == "0"
    assert "| bert +E128" in " ".join(shown(*switches).split())


def test_newer_models_say_in_what_they_differ(rows, shown):
    """ModernBERT's layers beside BERT's: what is built otherwise, and how many FLOPs only a kernel for windows saves."""
    models = ("--models", "bert,modernbert-base", "--sequence-length", "512")
    text = " ".join(shown(*models).split())
    assert "modernbert-base differs from BERT: local attention in 14 of 22 layers, 64 tokens on either side" in text
    assert "8.61 GFLOPs of them (6.6%) lie outside of the windows" in text
    found = rows(*models)
    assert found["modernbert-base", "flops", "outside-windows"]["value"] == str(14 * 4 * 768 * 447 * 448)
    assert ("bert", "flops", "outside-windows") not in found


def test_a_switch_that_changes_nothing_is_said(shown):
    """DistilBERT shares nothing as it is: no second column, a note instead."""
    text = shown("--models", "distilbert", "--share", "none")

    assert "* distilbert: share-none changes nothing" in text
    assert "+share-none" not in text


def test_time_is_shown_with_what_hooks_add(rows, shown, monkeypatch):
    """--time adds seconds a part, the pass without hooks as total, and says how they were taken."""
    monkeypatch.setitem(clock.timed.__kwdefaults__, "most_passes", 3)
    arguments = ("--models", "bert-mini", "--time", "--threads", "1")
    found = rows(*arguments)
    parts = [float(row["value"]) for key, row in found.items() if key[2].startswith("median/")]

    total = found["bert-mini", "latency", "median"]
    assert sum(parts) == pytest.approx(float(total["value"]))
    assert (total["weights"], total["threads"], total["n"], total["device"]) == ("random", "1", "3", "cpu")
    assert ("bert-mini", "latency", "hooked") in found
    text = " ".join(shown(*arguments).split())
    assert "bert-mini: a pass took" in text
    assert "with hooks" in text


def test_what_cannot_be_timed_is_a_note(shown, monkeypatch):
    """A model that does not fit into memory is counted all the same; the exit code says that a part is missing."""
    monkeypatch.setitem(clock.timed.__kwdefaults__, "free_memory", lambda: 1000)
    text = shown("--models", "bert-mini", "--time", code=1)

    assert "bert-mini: not timed" in text
    assert "145,088" in text


def test_unknown_architecture_is_grouped_and_said(shown, tmp_path):
    """A folder with an encoder without attention is shown by its top-level modules."""
    values = {
        "model_type": "fnet",
        "num_hidden_layers": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "vocab_size": 50,
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    text = " ".join(shown("--models", str(tmp_path)).split())

    assert "| Encoder |" in text
    assert "components cannot be told apart by name" in text


@pytest.mark.parametrize("name", ["albert-table-1", "albert-table-3", "albert-table-4", "distilbert-table-3"])
def test_papers_are_rebuilt(shown, name):
    """Each published table is rebuilt, and nothing in it is a surprise: exit code 0."""
    text = shown("--paper", name)

    assert text.count("| equal") + text.count("| known to differ") == len(Catalog().paper(name).parameters)
    assert "EXPECTED" not in text


def test_known_differences_are_marked(shown, rows):
    """Where the paper and the released configuration differ, both are printed and marked."""
    text = shown("--paper", "albert-table-1")

    assert "| ALBERT xxlarge |      235M | 222,595,584 |    205,814,272 | known to differ: 223M |" in text
    assert "233M in its text" in text
    found = rows("--paper", "albert-table-1")
    row = found["bert", "parameters", "unique/without-pooler"]
    assert (row["value"], row["verdict"], row["status"]) == ("108490752", "equal", "ok")
    assert row["published"] == "108M (arXiv:1909.11942 (ALBERT) Table 1)"
    assert found["albert-xxlarge", "parameters", "unique"]["verdict"] == "different"


def test_a_paper_of_ones_own(shown, tmp_path):
    """A paper table is one YAML; a cell that counting does not give is marked, and the exit code is 1."""
    (tmp_path / "papers").mkdir()
    cells = "[{label: A, model: bert, parameters: 109000000}, {label: B, model: bert, layers: 6, parameters: 60000000}]"
    (tmp_path / "papers" / "mine.yaml").write_text(f"title: Mine\nsource: s\nparameters: {cells}\n")
    text = shown("--paper", "mine", "--config-dir", str(tmp_path), code=1)

    assert "| A     |      109M | 109,482,240 |    108,891,648 | equal with and without pooler |" in text
    assert "DIFFERENT: 67M" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--embedding-size", "0"), "--embedding-size 0: must be 1 or more. Give a size from 1 to 768"),
        (("--embedding-size", "769"), "--embedding-size 769: larger than the hidden size of bert, 768"),
        (("--layers", "13"), "--layers 13: bert has 12, and layers are only dropped. Give a number from 1 to 12"),
        (("--share", "fnn"), "did you mean 'ffn'?"),
        (("--by", "part"), "'component', 'layer'"),
        (("--models", "brt"), "unknown model 'brt'; did you mean 'bert'?"),
        (("--sequence-length", "513"), "--sequence-length 513: bert takes at most 512 tokens"),
        (("--batch-size", "0"), "--batch-size 0: must be a number above 0"),
        (("--threads", "0"), "--threads 0: must be a number above 0"),
        (("--paper", "albert-table-2"), "unknown paper 'albert-table-2'; did you mean 'albert-table-"),
        (("--paper", "albert-table-1", "--share", "all"), "--paper albert-table-1 decides --share. Leave --share out"),
        (("--paper", "albert-table-1", "--time"), "--paper albert-table-1 decides --time"),
        (("--output", "a.txt"), "--output a.txt: unknown ending"),
    ],
)
def test_bad_input_is_one_clear_line(error, arguments, says):
    """What cannot be meant is refused before any work, with exit code 2."""
    assert says in error(*arguments)


def test_a_paper_of_times_only_points_to_speed(error, tmp_path):
    """A paper that publishes no parameters says which command repeats it."""
    (tmp_path / "papers").mkdir()
    text = "title: T\nsource: s\nmodels: [bert]\nreference: bert\ntask: stsb\npublished: {bert: 1}\n"
    (tmp_path / "papers" / "mine.yaml").write_text(text)

    line = error("--paper", "mine", "--config-dir", str(tmp_path))
    assert line == "--paper mine: publishes no parameter counts. Use `bertbench speed --paper mine`"


def test_the_file_is_written_too(shown, tmp_path):
    """--output writes the report in the format of its ending."""
    shown("--models", "bert-mini", "--output", str(tmp_path / "a.json"))

    assert "Feed-forward" in (tmp_path / "a.json").read_text()
