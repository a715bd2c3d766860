"""The comparison at a glance, from hand-made rows."""

from dataclasses import replace

import pytest

from bertbench.report.caveats import RandomWeights, SampleOnly, remarks
from bertbench.report.compare.use_case import ALONE, NO_QUALITY, Use
from bertbench.report.formats.terminal import PLUGIN as TERMINAL
from bertbench.report.row import Report
from bertbench.report.tables.comparison import JudgedClaim
from bertbench.report.tables.figures import Figures
from bertbench.report.tables.glance import MARKS, glance_table
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import Published
from bertbench.streams import shown
from tests import factories
from tests.report.tables.test_comparison import ROWS, SHAPE, comparison, row

CATALOG = Catalog()
MEASURED = (
    *(each for each in ROWS if each.status == "ok"),
    row("tiny", "parameters", 512_000, "executed", ratio=0.00468),
    row("tiny", "score", 0.9, "mean", low=0.88, high=0.92, task="sst2", split="validation"),
    row("tiny", "retention", 0.971, "mean", low=0.95, high=0.99, task="sst2", split="validation"),
)


def claim(name="distilbert-60-percent-faster"):
    """A claim of the catalog."""
    return CATALOG.claim(name)


def lines(table):
    """The rows by their first column."""
    return {cells[0].strip(): cells[1:] for cells in table.rows}


def published(**fields):
    """A spec of the tiny model with something published."""
    return {
        "bert": factories.model_spec("bert"),
        "tiny": factories.model_spec("tiny", compression="made small", **fields),
    }


def test_a_cell_is_one_short_line():
    """Each line has figure, ratio and interval side by side, and a row for each shape and task."""
    table = glance_table(comparison(MEASURED), "bert, tiny")
    assert lines(table) == {
        "Method": ("none", "made small"),
        "Size": ("109.5M 437.9 MB", "512.0k 0.00468x 2.0 MB"),
        "Speed 1x128": ("155 ms", "79.1 ms 1.97x [1.93, 2.01]"),
        "Accuracy sst2": ("92.7 [90.8, 94.2]", "90.0 [88.0, 92.0] 97.1%"),
        "Best use": ("when quality decides", "storage"),
    }
    assert table.columns == ("", "BERT (reference)", "TINY*")
    assert table.sections == (1, 1, 1, 1, 1)


def test_claims_have_marks_and_papers_have_numbers():
    """A verdict is a mark before the claim, a published figure stands beside it with the number of its source."""
    specs = published(
        published=(
            Published(row="speed", statement="faster", source="A paper, Table 1", quantity="speedup", value=1.63),
            Published(
                row="accuracy", statement="91.3", source="B paper", quantity="accuracy", value=0.913, task="sst2"
            ),
        )
    )
    judged = {("tiny", "speed"): [JudgedClaim(claim(), "supported")]}
    table = glance_table(comparison(MEASURED, specs=specs, claims=judged), "bert, tiny")
    assert lines(table)["claims"] == ("", "✔ 60% faster (1.63x¹)")
    assert lines(table)["Accuracy sst2"][1] == "90.0 [88.0, 92.0] 97.1% (91.3²)"
    assert table.notes[0].startswith("✔ supported; x and %: against BERT")
    assert table.notes[-1] == "published: ¹ A paper, Table 1; ² B paper"
    assert table.accents["(1.63x¹)"] == "dim"


@pytest.mark.parametrize("verdict", list(MARKS))
def test_only_marks_in_the_table_are_explained(verdict):
    """The legend names the verdicts that are there."""
    judged = {("tiny", "size"): [JudgedClaim(claim("albert-much-smaller"), verdict)]}
    legend = glance_table(comparison(MEASURED, claims=judged), "t").notes[0]
    assert [each for each in MARKS if each in legend] == [verdict]


def test_sources_of_one_paper_stand_together():
    """Places in one paper are listed behind its name."""
    specs = published(
        published=(
            Published(row="size", statement="", source="arXiv:1 (X) Table 1", quantity="parameters", value=5e5),
            Published(row="speed", statement="", source="arXiv:1 (X) Sec 4", quantity="speedup", value=2.0),
        )
    )
    notes = glance_table(comparison(MEASURED, specs=specs), "t").notes
    assert "published: arXiv:1 (X) ¹ Table 1, ² Sec 4" in notes


def test_what_is_missing_is_a_dot_with_one_note():
    """Figures that are not there are dots; one note has the reasons, what they stopped beside them."""
    rows = (
        *ROWS[:5],
        row("bert", "score", None, None, task="sst2", status="skipped", caveats=remarks("no hub")),
        row("tiny", "score", None, None, task="sst2", status="skipped", caveats=remarks("no hub")),
        row("tiny", "latency", None, None, status="failed", caveats=remarks("out of memory")),
    )
    table = glance_table(comparison(rows, uses={"bert": (), "tiny": (NO_QUALITY,)}), "t")
    assert lines(table)["Size"] == ("109.5M 437.9 MB", "·")
    assert lines(table)["Accuracy"] == ("·", "·")
    assert lines(table)["Best use"] == ("·", "·")
    assert [note for note in table.notes if note.startswith("·")] == [
        "· sst2 skipped: no hub; latency failed: out of memory"
    ]


def test_what_to_do_stands_beside_the_reason():
    """The hint of the run that gave nothing follows why it did."""
    rows = (
        *ROWS[:5],
        row("tiny", "score", None, None, task="sst2", status="skipped", caveats=remarks("no hub"), run_ids=("r",)),
    )
    notes = glance_table(comparison(rows, hints={"r": "go online"}), "t").notes
    assert "· sst2 skipped: no hub (go online)" in notes


def test_many_models_are_split_into_tables_that_fit():
    """Where all models do not fit side by side, tables of a few follow each other, each with the reference."""
    models = ("bert", *(f"tiny{n}" for n in range(5)))
    rows = [
        replace(each, model=model)
        for model in models
        for each in MEASURED
        if each.model == ("bert" if model == "bert" else "tiny")
    ]
    specs = {model: factories.model_spec(model) for model in models}
    made = comparison(rows, models=models, specs=specs, uses=dict.fromkeys(models, ()))
    table = replace(glance_table(made, "many"), notes=())
    for width, count in ((60, 5), (80, 3), (200, 1)):
        text = TERMINAL.render(Report("many", (), glance=(table,)), layout="long", width=width)
        assert text.count("BERT (reference)") == count
        assert all(f"TINY{n}" in text for n in range(5))
        assert max(map(len, text.splitlines())) <= width


def test_further_reasons_are_counted():
    """Of many reasons two are told and the others counted."""
    failed = (
        row("tiny", "score", None, None, task=f"t{n}", status="failed", caveats=remarks(f"reason {n}"))
        for n in range(4)
    )
    (note,) = (note for note in glance_table(comparison((*ROWS[:5], *failed)), "t").notes if note.startswith("·"))
    assert note == "· t0 failed: reason 0; t1 failed: reason 1; and 2 other reasons: --details"


def test_samples_are_told_once():
    """That scores are of samples is one note for all models, with the task."""
    sampled = [
        replace(each, caveats=(SampleOnly(100, 1000, "questions"),)) if each.quantity == "score" else each
        for each in MEASURED
    ]
    notes = glance_table(comparison(sampled), "t").notes
    assert "sst2: 100 of 1,000 questions" in notes
    sampled = [each for each in sampled if each.model == "tiny" or each.quantity != "score"]
    assert any(note == "sst2: 100 of 1,000 questions (TINY)" for note in glance_table(comparison(sampled), "t").notes)


def test_the_legend_says_which_metric_a_score_is():
    """A figure without its metric could be taken for another; tasks without a score are not named."""
    made = comparison(MEASURED, scores={"sst2": "accuracy", "squad": "answer f1"})
    assert glance_table(made, "t").notes[0].endswith("scores: sst2 accuracy")


def test_shared_layers_are_told_with_the_method():
    """Where a pass executes more parameters than are stored, the method says how often."""
    rows = [
        replace(each, value=5_120_000) if each.statistic == "executed" and each.model == "tiny" else each
        for each in MEASURED
    ]
    assert lines(glance_table(comparison(rows), "t"))["Method"][1] == "made small; weights used 10.0x"


def test_best_use_is_a_phrase():
    """Uses are phrases without their derivations; a model that is best at nothing has the reason."""
    uses = {
        "bert": (Use("none here", "tiny is at least as good", is_best=False),),
        "tiny": (
            Use("storage", "9x smaller"),
            Use("speed", "2x faster"),
            Use("loses 2 points", is_best=False, is_remark=True),
        ),
    }
    cells = lines(glance_table(comparison(MEASURED, uses=uses), "t"))["Best use"]
    assert cells == ("none here: tiny is at least as good", "storage, speed")


def test_random_weights_are_a_mark_with_one_note():
    """A star at the model's name, and what it means in the legend."""
    table = glance_table(comparison(MEASURED), "t")
    assert "* random weights: right for size, speed and memory" in table.notes[0]
    trained = [
        replace(each, weights="pretrained", caveats=tuple(c for c in each.caveats if not isinstance(c, RandomWeights)))
        for each in MEASURED
    ]
    assert "random" not in glance_table(comparison(trained), "t").notes[0]


def test_only_the_first_shapes_are_shown():
    """A fourth shape is left to the details."""
    more = [row("bert", "latency", 0.1 * n, "median", batch_size=n, sequence_length=128) for n in range(2, 6)]
    table = glance_table(comparison((*MEASURED, *more)), "t")
    assert [cells[0].strip() for cells in table.rows if "x128" in cells[0]] == ["Speed 1x128", "2x128", "3x128"]


def test_without_unicode_marks_are_words():
    """What a terminal's encoding lacks becomes words and plain numbers."""
    assert shown("✔ 40% smaller (66M¹²)", "ascii") == "yes: 40% smaller (66M(1)(2))"


def test_a_table_at_a_glance_is_short(tmp_path):
    """In 120 columns three models take at most 25 lines and no frame is broken."""
    models = ("bert", "distilbert", "albert")
    rows = [
        replace(each, model=model)
        for model in models
        for each in (
            row("", "parameters", 66_362_880, "unique", ratio=0.606),
            row("", "parameters", 166_362_880, "executed", ratio=0.606),
            row("", "parameter_bytes", 265e6),
            row("", "peak_memory", 520e6, "peak", ratio=0.74),
            *(
                row("", "latency", 0.1, "median", low=0.09, high=0.11, batch_size=n, sequence_length=128)
                for n in (1, 4, 8)
            ),
            *(
                row("", "speedup", 2.0, "median", low=1.9, high=2.1, batch_size=n, sequence_length=128)
                for n in (1, 4, 8)
            ),
            *(row("", "score", 0.9, "mean", low=0.88, high=0.92, task=task) for task in ("sst2", "squad", "conll2003")),
            *(row("", "retention", 0.97, "mean", task=task) for task in ("sst2", "squad", "conll2003")),
        )
    ]
    made = comparison(
        rows, models=models, specs={model: CATALOG.model(model) for model in models},
        scores=dict.fromkeys(("sst2", "squad", "conll2003"), "score"),
        uses=dict.fromkeys(models, (Use("latency-bound serving"), Use("storage and download"))),
        claims={("distilbert", "speed"): [JudgedClaim(claim(), "refuted")]},
    )  # fmt: skip
    title = "bert, distilbert, albert"
    table = glance_table(made, title)
    text = TERMINAL.render(Report(title, (), glance=(replace(table, notes=()),)), layout="long", width=120)
    assert len(text.splitlines()) <= 25
    assert len({len(line) for line in text.splitlines()[1:]}) == 1


def test_a_task_with_a_long_name_has_a_line_of_its_own():
    """Beside the section's name it would take the room of the figures."""
    rows = [replace(each, task="demo-sentiment" if each.task else None) for each in MEASURED]
    table = glance_table(comparison(rows, scores={"demo-sentiment": "accuracy"}), "t")
    assert lines(table)["Accuracy"] == ("", "")
    assert lines(table)["demo-sentiment"][0] == "92.7 [90.8, 94.2]"
    assert sum(table.sections) == len(table.rows)


def test_rows_of_figures_of_other_shapes_do_not_mix():
    """A speed-up stands beside the latency of its own shape."""
    rows = (
        row("bert", "latency", 0.2, "median", **SHAPE),
        row("tiny", "latency", 0.1, "median", **SHAPE),
        row("tiny", "latency", 0.3, "median", batch_size=4, sequence_length=128),
        row("tiny", "speedup", 1.5, "median", batch_size=4, sequence_length=128),
    )
    told = lines(glance_table(comparison(rows, figures=Figures(rows)), "t"))
    assert told["Speed 1x128"] == ("200 ms", "100 ms")
    assert told["4x128"] == ("·", "300 ms 1.50x")


def ways(*backends, model="tiny", factor=1.0):
    """Latencies of a model on several back-ends, with what each is over the reference on the same one."""
    run = {"dtype": "fp32", **SHAPE}
    return [
        each
        for number, backend in enumerate(backends, 1)
        for each in (
            row(model, "latency", factor * number / 10, "median", backend=backend, **run),
            *(
                [row(model, "speedup", 1.0 + number, "median", backend=backend, reference="bert", **run)]
                if model == "tiny"
                else []
            ),
        )
    ]


def test_several_back_ends_do_not_mix():
    """Of several back-ends the first is shown, with its own speed-up; the others are named."""
    rows = (*ways("eager", "onnxruntime", model="bert"), *ways("eager", "onnxruntime", factor=0.5))
    table = glance_table(comparison(rows), "t")
    assert lines(table)["Speed 1x128"] == ("100 ms", "50.0 ms 2.00x")
    assert "also timed: onnxruntime fp32 (in the details)" in table.notes


def test_the_best_back_end_of_each_model():
    """The fastest way at the first shape, how many times as fast as the model in PyTorch, and the share of changed answers."""
    fast = {"backend": "onnxruntime-int8", "dtype": "int8"}
    rows = (
        *ways("eager", "onnxruntime", model="bert"),
        *ways("eager", factor=0.5),
        row("tiny", "latency", 0.02, "median", **fast, **SHAPE),
        row("tiny", "speedup", 2.5, "median", low=2.4, high=2.6, reference="tiny eager fp32", **fast, **SHAPE),
        row("tiny", "changed_predictions", 0.03125, **fast),
    )
    table = glance_table(comparison(rows), "t")
    assert lines(table)["best back-end"] == (
        "100 ms eager fp32",
        "20.0 ms onnxruntime-int8 2.50x [2.40, 2.60] (3.1% changed)",
    )
    assert any(note.startswith("best back-end: the lowest latency at the first shape") for note in table.notes)
    assert "best back-end" not in lines(glance_table(comparison(ways("eager", model="bert")), "t"))


def test_another_back_end_than_the_reference_s_is_named():
    """A model that was timed on another back-end alone says so, and has no speed-up over the reference."""
    other = row("tiny", "latency", 0.05, "median", backend="onnxruntime", dtype="fp32", **SHAPE)
    rows = (
        *ways("eager", model="bert"),
        other,
        replace(other, quantity="speedup", value=2.0, reference="bert eager fp32"),
    )
    assert lines(glance_table(comparison(rows), "t"))["Speed 1x128"] == ("100 ms", "50.0 ms (onnxruntime fp32)")


def test_a_whole_split_is_no_pass_of_natural_length():
    """Both have no length of their own: they are told apart, and each has its own speed-up."""
    rows = [
        row("tiny", quantity, value * number, "median", batch_size=8, scenario=scenario)
        for number, scenario in enumerate(("offline", "natural"), 1)
        for quantity, value in (("latency", 0.1), ("speedup", 1.5))
    ]
    told = lines(glance_table(comparison(rows), "t"))
    assert (told["Speed 8 split"][1], told["8 natural"][1]) == ("100 ms 1.50x", "200 ms 3.00x")


def test_shapes_without_room_are_named():
    """What was timed beyond the first shapes is in no cell, and said."""
    more = [row("bert", "latency", 0.1 * n, "median", batch_size=n, sequence_length=128) for n in range(2, 6)]
    assert "also timed: 4x128 and 5x128 (in the details)" in glance_table(comparison((*MEASURED, *more)), "t").notes


def test_published_figures_are_of_the_metric_that_the_score_is():
    """Of several metrics that were published that of the score stands beside it; another one says which it is."""
    told = [
        Published(row="speed", statement="", source="A", quantity="speedup", value=2.0, task="sst2"),
        Published(row="accuracy", statement="", source="A", quantity="exact_match", value=0.7, task="sst2"),
        Published(row="accuracy", statement="", source="A", quantity="answer_f1", value=0.8, task="sst2"),
    ]

    def cell(*entries):
        specs = published(published=entries)
        made = comparison(MEASURED, specs=specs, metrics={"sst2": ("answer_f1",)})
        return lines(glance_table(made, "t"))["Accuracy sst2"][1]

    assert cell(*told).endswith("(80.0¹)")
    assert cell(*told[:2]).endswith("(exact match 70.0¹)")
    assert cell(told[0]).endswith("97.1%")


def test_published_scores_of_the_checkpoint_are_of_the_metric_that_the_score_is():
    """So it is with what was published of the very checkpoint that was evaluated."""
    scores = {"exact_match": 70.0, "answer_f1": 80.0}
    specs = published(finetuned={"sst2": {"checkpoint": "org/t", "scores": scores, "source": "card"}})
    rows = [replace(each, checkpoint="org/t") if each.quantity == "score" else each for each in MEASURED]
    made = comparison(rows, specs=specs, metrics={"sst2": ("answer_f1",)})
    assert lines(glance_table(made, "t"))["Accuracy sst2"][1].endswith("(80.0¹)")


def test_ratios_are_explained_where_there_are_some():
    """Without the reference's figures nothing is a share of them."""
    rows = [replace(each, ratio=None) for each in MEASURED if each.model == "tiny" and each.quantity == "parameters"]
    assert not any("against BERT" in note for note in glance_table(comparison(rows), "t").notes)
    assert any("against BERT" in note for note in glance_table(comparison(MEASURED), "t").notes)


def test_quantities_that_failed_are_words():
    """Memory that could not be measured is no identifier."""
    rows = (*MEASURED, row("tiny", "peak_memory", None, None, status="failed", caveats=remarks("no room")))
    assert any("· peak memory failed: no room" in note for note in glance_table(comparison(rows), "t").notes)


def test_a_model_alone_has_nothing_missing():
    """That there is nothing to compare with is said, and not that something was not measured."""
    rows = [each for each in MEASURED if each.model == "bert"]
    table = glance_table(comparison(rows, models=("bert",), uses={"bert": (ALONE,)}), "t")
    assert lines(table)["Best use"] == ("no other model to compare with",)
    assert not any("not measured" in note for note in table.notes)


def test_memory_is_of_one_shape():
    """A model without a reading at the first shape has none beside that of another shape."""
    rows = (
        *MEASURED,
        row("bert", "peak_memory", 8e8, "peak", **SHAPE),
        row("tiny", "peak_memory", 4e8, "peak", batch_size=8, sequence_length=128),
    )
    assert lines(glance_table(comparison(rows), "t"))["memory"] == ("800.0 MB", "·")


def test_a_seed_that_failed_is_told_with_its_model():
    """Where other seeds gave a score there is no dot, so the note says whose run failed."""
    rows = (*MEASURED, row("tiny", "score", None, None, task="sst2", status="failed", caveats=remarks("diverged")))
    assert "· a run of TINY on sst2 failed: diverged" in glance_table(comparison(rows), "t").notes
