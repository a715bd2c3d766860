"""Published checkpoints in a comparison: how each learnt its task, where it comes from, and what was published of it."""

import pytest

from bertbench.report.caveats import OtherRecipe
from bertbench.report.formats import csv as csv_format
from bertbench.report.formats import json as json_format
from bertbench.report.formats import markdown, terminal
from bertbench.report.row import columns
from tests import factories
from tests.report.compare.test_build import report_of

MODELS = ("bert", "distilbert", "albert")
DISTILLED = {"recipe": "distilled", "origin": "its authors, by a teacher"}
LABELS = {"recipe": "fine-tuned", "origin": "somebody: 3 epochs"}


def evaluated(model, share, origin, **fields):
    """A published checkpoint that was evaluated, as `stored_session` takes it."""
    settings = factories.SETTINGS | {"mode": "evaluate", "eval_samples": 300} | ({"origin": origin} if origin else {})
    return (model, factories.predictions(share, 300), {"settings": settings, "checkpoint": f"hub/{model}"} | fields)


def trained(model, share, **settings):
    """A model that was trained here."""
    settings = factories.SETTINGS | {"mode": "fine-tune", "train_samples": 3000, "epochs": 3} | settings
    return (model, factories.predictions(share, 300), {"settings": settings})


def stored(folder, *scored):
    """A session of these."""
    models = tuple(dict.fromkeys(model for model, *_ in scored))
    return factories.stored_session(folder, session=factories.session_record(models), scored=scored)


def unlike(figures, model, statistic="mean", quantity="score", **where):
    """What a figure's row says of the ways in which two models learnt the task."""
    row = figures.first(model, quantity, statistic=statistic, **where)
    return [caveat for caveat in row.caveats if isinstance(caveat, OtherRecipe)]


@pytest.mark.parametrize("others", ["published", "trained here"])
def test_a_distilled_checkpoint_beside_others_is_said_with_each_of_its_figures(tmp_path, others):
    """One that had a teacher for the task is marked in score, share and difference, and those that are like the reference are not."""
    rest = [("bert", 0.9), ("albert", 0.85)]
    alike = [evaluated(*each, LABELS) if others == "published" else trained(*each) for each in rest]
    report, figures = report_of(stored(tmp_path, *alike, evaluated("distilbert", 0.8, DISTILLED)))
    expected = [OtherRecipe("sst2", "distilled", "bert", "fine-tuned")]
    assert unlike(figures, "distilbert") == unlike(figures, "distilbert", quantity="retention") == expected
    assert unlike(figures, "distilbert", "difference", reference="bert") == expected
    assert unlike(figures, "bert") == unlike(figures, "albert") == []
    words = "checkpoint distilled on sst2, that of bert fine-tuned"
    row = figures.first("distilbert", "score", statistic="mean")
    assert words in columns(row)["note"]
    for exporter in (markdown.PLUGIN, json_format.PLUGIN, csv_format.PLUGIN, terminal.PLUGIN):
        text = exporter.render(report, layout="long", width=400)
        assert words in " ".join(text.split())
    assert words in "".join(cell for line in report.tables[0].rows for cell in line)


def test_where_the_reference_had_a_teacher_the_others_are_marked(tmp_path):
    """Whichever of two learnt otherwise: the figure that joins them says so."""
    session = stored(tmp_path, evaluated("distilbert", 0.8, DISTILLED), evaluated("bert", 0.9, LABELS))
    _, figures = report_of(session, ("distilbert", "bert"), "distilbert")
    assert unlike(figures, "bert") == [OtherRecipe("sst2", "fine-tuned", "distilbert", "distilled")]
    assert unlike(figures, "distilbert") == []


def test_difference_to_the_best_model_is_marked_by_itself(tmp_path):
    """A model like its reference is unlike the best one where that had a teacher."""
    session = stored(
        tmp_path,
        evaluated("bert", 0.7, LABELS),
        evaluated("albert", 0.75, LABELS),
        evaluated("distilbert", 0.9, DISTILLED),
    )
    _, figures = report_of(session)
    assert unlike(figures, "albert", "difference", reference="bert") == []
    best = unlike(figures, "albert", "difference", reference="distilbert")
    assert best == [OtherRecipe("sst2", "fine-tuned", "distilbert", "distilled")]


@pytest.mark.parametrize(
    "runs",
    [
        [evaluated("bert", 0.9, LABELS), evaluated("distilbert", 0.8, LABELS | {"origin": "somebody else"})],
        [evaluated("bert", 0.9, None), evaluated("distilbert", 0.8, DISTILLED)],
        [trained("bert", 0.9), trained("distilbert", 0.8, teaching={"teacher": "bert"})],
    ],
    ids=["two trainers", "origin not known", "taught here"],
)
def test_nothing_is_said_where_recipes_are_alike_unknown_or_as_configured(tmp_path, runs):
    """Two trainers of one recipe may be compared; what is not known is not guessed; a student of a YAML is meant to be one."""
    _, figures = report_of(stored(tmp_path, *runs), MODELS[:2])
    assert unlike(figures, "distilbert") == []


def test_origins_that_differ_are_listed_below_the_table(tmp_path):
    """Who trained each checkpoint, and how; of one origin nothing is said."""
    session = stored(tmp_path, evaluated("bert", 0.9, LABELS), evaluated("distilbert", 0.8, DISTILLED))
    report, _ = report_of(session, MODELS[:2])
    line = "sst2: checkpoints of different origins: bert: somebody: 3 epochs; distilbert: its authors, by a teacher"
    assert line in report.tables[0].notes
    same = stored(tmp_path / "same", evaluated("bert", 0.9, LABELS), evaluated("distilbert", 0.8, LABELS))
    report, _ = report_of(same, MODELS[:2])
    assert not any("origins" in note for note in report.tables[0].notes)


def test_scores_published_of_a_checkpoint_stand_beside_those_measured_of_it(tmp_path):
    """In the column, and in the table's cell; never beside what was measured of another checkpoint."""
    entry = {"checkpoint": "hub/bert", "scores": {"accuracy": 91.3, "f1": 90.0}, "source": "model card"}
    catalog = {
        name: factories.model_spec(name, finetuned={"sst2": entry | {"checkpoint": f"hub/{name}"}})
        for name in MODELS[:2]
    }
    session = stored(tmp_path, evaluated("bert", 0.9, LABELS), trained("distilbert", 0.8))
    report, figures = report_of(session, MODELS[:2], catalog=catalog)
    own = "91.3 (hub/bert: model card)"
    assert [figures.first("bert", name, statistic="mean").published for name in ("accuracy", "score")] == [own, own]
    assert figures.first("distilbert", "accuracy", statistic="mean").published is None
    (accuracy,) = [line for line in report.tables[0].rows if line[0] == "Accuracy"]
    assert "published: accuracy 91.3, f1 90.0 on sst2; hub/bert: model card" in accuracy[1]
    assert "published" not in accuracy[2]


def test_a_mean_over_tasks_says_on_which_of_them_a_checkpoint_had_a_teacher(tmp_path):
    """The task is named, since on the others the models learnt alike."""
    other = factories.task_spec("rte")
    runs = [
        *(evaluated(model, 0.9, LABELS) for model in MODELS[:2]),
        evaluated("bert", 0.8, LABELS, task=other),
        evaluated("distilbert", 0.7, DISTILLED, task=other),
    ]
    session = factories.session_record(MODELS[:2], ("sst2", "rte"))
    _, figures = report_of(factories.stored_session(tmp_path, session=session, scored=runs), MODELS[:2])
    expected = [OtherRecipe("rte", "distilled", "bert", "fine-tuned")]
    assert unlike(figures, "distilbert", "macro") == expected
    assert unlike(figures, "distilbert", task="sst2") == []
