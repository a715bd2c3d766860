from dataclasses import replace

import pytest

from bertbench.records.anatomy import Anatomy, Part, RebuiltCell, Step, Timing, Trait
from bertbench.report.tables.anatomy import build_anatomy, share, verdict

PARTS = (
    Part("word_embeddings", "before-layers", 9990, 9990, 0, 0.001),
    Part("token_type_embeddings", "before-layers", 2, 2, 0, 0.0),
    Part("feed_forward", "layer-1", 8, 8, 3000, 0.003),
    Part("feed_forward", "layer-2", 0, 8, 3000, 0.003),
    Part("other", "layer-10", 0, 0, 0, 0.001),
)
ONE = Anatomy("one", PARTS, 1, 16, timing=Timing(0.008, 0.0082, 9, 2, "sdpa"))
STEPS = (
    Step("plain", 20_000, 20_000, 6000),
    Step("factorizing", 10_008, 10_008, 6010),
    Step("tying", 10_000, 10_008, 6010),
)
CELL = RebuiltCell("A", "a", 66e6, 1e6, 66_400_000, 65_800_000, ("with pooler", "without pooler"), as_expected=True)


def table(report, title):
    """The lines of the report's table with this title, by label."""
    (found,) = (each for each in report.tables if each.title == title)
    return {row[0]: row[1:] for row in found.rows}


def test_sums_by_component_and_by_place():
    """A component's figures are summed over layers, a layer's over components; what has nothing is left out."""
    assert ONE.by("component", "unique") == {"word_embeddings": 9990, "token_type_embeddings": 2, "feed_forward": 8}
    assert ONE.by("layer", "flops") == {"layer-1": 3000, "layer-2": 3000}
    assert ONE.total("seconds") == pytest.approx(0.008)


def test_unknown_figures_have_no_sum():
    """One part that could not be observed makes the total unknown, not smaller."""
    unknown = replace(ONE, parts=(*PARTS, Part("pooler", "after-layers", 1, None, None)))

    assert unknown.total("executed") is None
    assert unknown.by("component", "executed") == {
        "word_embeddings": 9990,
        "token_type_embeddings": 2,
        "feed_forward": 16,
    }
    titles = [head for each in build_anatomy([unknown], "component").tables for head in each.columns]
    assert "Executed parameters" not in titles


def test_one_model_is_one_table():
    """A single model has its quantities as columns, each figure with its share."""
    lines = table(build_anatomy([ONE], "component"), "one")

    assert lines["Word embeddings"] == ("9,990  99.9%", "40.0 kB", "9,990  99.8%", "", "1.00 ms  12.5%")
    assert lines["Feed-forward"][3] == "6.00 kFLOPs 100.0%"
    assert list(lines)[-2:] == ["Other", "Total"]
    assert share(2, 10_000) == "<0.1%"


def test_layers_are_in_numerical_order():
    """Layer 10 comes after layer 2."""
    assert list(table(build_anatomy([ONE], "layer"), "one")) == [
        "Before the layers",
        "Layer 1",
        "Layer 2",
        "Layer 10",
        "Total",
    ]


def test_several_models_have_ratios_to_the_first():
    """Side by side there are a table a quantity and ratios; times have none, as they are not comparable."""
    report = build_anatomy([ONE, replace(ONE, name="two", parts=PARTS[2:])], "component")

    assert table(report, "Executed parameters (as often as they run in one pass)")["Ratio to one"] == (
        "1.00",
        "0.00160",
    )
    assert "Ratio to one" not in table(report, "Time (of one pass)")
    assert not [row for row in report.rows if row.quantity == "latency" and row.ratio is not None]


def test_each_technique_has_its_line():
    """Savings lead from the plain counterpart to the model; what is not changed is 0."""
    lines = table(build_anatomy([replace(ONE, steps=STEPS)], "component"), "What each technique saves: one")

    assert lines["factorized embeddings"] == ("-9,992  50.0%", "-40.0 kB", "-9,992", "+0.0100 kFLOPs")
    assert lines["shared layers"] == ("-8  <0.1%", "-0.0 kB", "0", "0")
    assert lines["as it is"][0] == "10,000  50.0%"


def test_what_differs_from_bert_is_a_note_each():
    """Traits are named with their numbers, a model a note; a model without any has none."""
    traits = (
        Trait("local-attention", (5, 6, 256, 1024)),
        Trait("gated-feed-forward"),
        Trait("rotary-positions"),
        Trait("relative-positions", (32,)),
        Trait("factorized-embeddings", (128, 512)),
        Trait("bottleneck", (128, 512)),
    )
    notes = build_anatomy([replace(ONE, traits=traits, timing=None), replace(ONE, name="two")], "component").notes
    assert notes[0] == (
        "one differs from BERT: local attention in 5 of 6 layers, 256 or 1024 tokens on either side; gated feed-forward; "
        "rotary positions; 32 relative positions; embeddings of 128 projected to 512; "
        "bottlenecks: layers 128 wide within, 512 between them"
    )
    assert not any("two differs" in note for note in notes)


def test_flops_outside_of_windows_are_a_row_and_a_note():
    """What local attention computes and hides is told apart from what its windows need."""
    report = build_anatomy([replace(ONE, hidden_flops=1500, timing=None)], "component")
    (row,) = (row for row in report.rows if row.statistic == "outside-windows")
    assert (row.quantity, row.value) == ("flops", 1500)
    assert "1.50 kFLOPs of them (25.0%) lie outside of the windows" in report.notes[0]


def test_hooks_that_take_much_are_said_to_be_rough():
    """The note says what passes took with and without hooks, and when small parts cannot be trusted."""
    (note, *_) = build_anatomy([ONE], "component").notes
    rough = replace(ONE, timing=replace(ONE.timing, hooked_s=0.0096))

    assert note == "one: a pass took 8.00 ms, with hooks 8.20 ms (+2.5%); 9 passes of each, threads 2, attention sdpa"
    assert build_anatomy([rough], "component").notes[0].endswith("makes small parts' shares rough")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "equal with and without pooler"),
        ({"matches": ("without pooler",)}, "equal without pooler"),
        ({"matches": ("no pooler",), "without_pooler": None}, "equal (it has no pooler)"),
        ({"matches": (), "unique": 59_700_000}, "known to differ: 60M"),
        ({"matches": (), "unique": 59_700_000, "as_expected": False}, "DIFFERENT: 60M"),
        ({"as_expected": False}, "equal with and without pooler, BUT EXPECTED TO DIFFER"),
    ],
)
def test_verdict_says_which_count_is_equal(change, says):
    """A cell's verdict names the way of counting, and shouts only at surprises."""
    assert verdict(replace(CELL, **change)) == says
