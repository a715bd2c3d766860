"""Scores to be published: what the Hub and Every Eval Ever get, and what never leaves."""

import json
from dataclasses import replace

import pytest
import yaml

from bertbench.records.cautions import caution
from bertbench.report.compare.build import build
from bertbench.report.row import Report
from bertbench.specs import plugins
from tests.factories import (
    SESSION_ID,
    SETTINGS,
    failed,
    predictions,
    quality_record,
    size_record,
    stored_session,
    task_spec,
)

EVALUATED = SETTINGS | {"mode": "evaluate"}
TRAINED = SETTINGS | {"mode": "fine-tune", "train_samples": 3000}
TASK = task_spec(title="SST-2", dataset={"path": "org/data", "subset": "sst2", "revision": "1" * 40})
FORMATS = ("model-index", "eval-results", "every-eval-ever")


def without_checkpoint(model, frame, **fields):
    """The quality record of a model that has no released weights."""
    record = quality_record(model, frame, **fields)
    return replace(record, model=record.model | {"checkpoint": None, "config": {}}, checkpoint=None)


def report_of(tmp_path, *scored, records=(), make=None):
    """The report of a session with these scores of 'bert', each (fields of its record)."""
    frames = [
        ("bert", predictions(0.9, seed=7), fields | {"run_id": f"quality-{n}"}) for n, fields in enumerate(scored)
    ]
    stored = stored_session(tmp_path, records=records, scored=frames, make=make)
    return build(stored, {}, ("bert",), "bert")


def evaluated(**fields):
    """Fields of the record of a released checkpoint that was evaluated as it is."""
    values = {"checkpoint": "org/bert-sst2", "settings": EVALUATED, "task": TASK}
    return values | fields


def render(name, report):
    """The report in a format."""
    return plugins.load("bertbench.report.formats", "format", name).render(report, layout="long", width=None)


def index_of(report):
    """The entries of the model index."""
    content = yaml.safe_load(render("model-index", report))
    return [] if content is None else content["model-index"]


def documents(report):
    """The documents of Every Eval Ever."""
    return [json.loads(line) for line in render("every-eval-ever", report).splitlines()]


def score_of(report):
    """The accuracy in the report's rows."""
    return next(row.value for row in report.rows if row.quantity == "accuracy" and row.statistic == "mean")


def test_model_index(tmp_path):
    """A checkpoint's entry has the keys of the Hub's specification: task, data set and metrics with the value measured."""
    report = report_of(tmp_path, evaluated())
    (entry,) = index_of(report)
    assert entry == {
        "name": "org/bert-sst2",
        "results": [
            {
                "task": {"type": "text-classification", "name": "Text classification"},
                "dataset": {
                    "name": "SST-2",
                    "type": "org/data",
                    "config": "sst2",
                    "split": "validation",
                    "revision": "1" * 40,
                },
                "metrics": [{"type": "accuracy", "value": score_of(report), "name": "Accuracy"}],
            }
        ],
    }
    assert f"# org/bert-sst2: session {SESSION_ID}, runs quality-0\n" in render("model-index", report)


def test_the_hub_reads_the_model_index(tmp_path):
    """huggingface_hub takes the entry for what it is."""
    from huggingface_hub import ModelCard

    card = ModelCard(f"---\n{render('model-index', report_of(tmp_path, evaluated()))}---\n# A model\n")
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_type, result.metric_type) == (
        "text-classification",
        "org/data",
        "accuracy",
    )
    assert card.data.model_name == "org/bert-sst2"


def test_eval_results(tmp_path):
    """A task is a document for one file, whose entry the Hub's library writes in the same way."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    report = report_of(tmp_path, evaluated())
    text = render("eval-results", report)
    (entry,) = yaml.safe_load(text)
    assert [entry] == eval_result_entries_to_yaml(
        [
            EvalResultEntry(
                dataset_id="org/data",
                task_id="sst2",
                value=score_of(report),
                dataset_revision="1" * 40,
                date="2026-11-24T12:00:00+00:00",
                notes="accuracy as a share of 1; split validation",
            )
        ]
    )
    assert text.startswith("# repository org/bert-sst2: .eval_results/sst2.yaml\n")


def test_eval_results_has_a_document_a_task(tmp_path):
    """Tasks are documents of their own, each with the score on the task's first split."""
    other = task_spec("cola", dataset={"path": "org/cola"})
    fields = {"task": other, "checkpoint": "org/bert-cola"}
    first, second = yaml.safe_load_all(render("eval-results", report_of(tmp_path, evaluated(), evaluated(**fields))))
    assert [first[0]["dataset"]["id"], second[0]["dataset"]["id"]] == ["org/data", "org/cola"]
    assert second[0]["dataset"]["task_id"] == "default"


def test_every_eval_ever(tmp_path):
    """A document has what schema 0.3 requires: library, model, source of the data, metric with bounds, score with interval."""
    report = report_of(tmp_path, evaluated())
    (document,) = documents(report)
    required = {
        "schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library",
        "evaluation_results",
    }  # fmt: skip
    assert document.keys() == required | {"evaluation_timestamp"}
    assert document["schema_version"] == "0.3.0"
    assert document["evaluation_id"] == "bertbench-base/org/bert-sst2/1795521600"
    assert document["retrieved_timestamp"] == "1795521600"
    assert document["model_info"]["id"] == "org/bert-sst2"
    assert document["model_info"]["additional_details"]["model_availability"] == "open_weights"
    (result,) = document["evaluation_results"]
    assert result["source_data"] == {
        "dataset_name": "SST-2",
        "source_type": "hf_dataset",
        "hf_repo": "org/data",
        "hf_split": "val",
        "samples_number": 400,
        "additional_details": {"config": "sst2", "revision": "1" * 40},
    }
    metric = result["metric_config"]
    assert (metric["metric_id"], metric["lower_is_better"]) == ("accuracy", False)
    assert (metric["min_score"], metric["max_score"]) == (0, 1)
    row = next(row for row in report.rows if row.quantity == "accuracy" and row.statistic == "mean")
    assert result["score_details"]["score"] == row.value
    assert result["score_details"]["uncertainty"] == {
        "confidence_interval": {
            "lower": row.low,
            "upper": row.high,
            "confidence_level": 0.95,
            "method": "Jeffreys interval over examples",
        },
        "num_samples": 400,
    }
    texts = [document["model_info"]["additional_details"], result["score_details"]["details"]]
    assert all(isinstance(value, str) for details in texts for value in details.values())


def test_every_eval_ever_by_its_own_schema(tmp_path):
    """Where the format's own package is installed, its schema takes every document."""
    jsonschema, package = pytest.importorskip("jsonschema"), pytest.importorskip("every_eval_ever")
    from importlib.resources import files

    schema = json.loads(files(package).joinpath("schemas/eval.schema.json").read_text())
    trained = {"settings": SETTINGS | {"mode": "fine-tune"}, "run_id": "trained", "seed": 2}
    for document in documents(report_of(tmp_path, evaluated(), trained)):
        jsonschema.validate(document, schema)


def test_trained_models_have_a_name_of_their_own(tmp_path):
    """What was fine-tuned here is never published under the name of the checkpoint that it started from."""
    report = report_of(tmp_path, evaluated(checkpoint="org/bert", settings=SETTINGS | {"mode": "fine-tune"}))
    (entry,), (document,) = index_of(report), documents(report)
    assert entry["name"] == document["model_info"]["id"] == "bert-sst2"
    assert "fine-tuned here from org/bert" in entry["results"][0]["metrics"][0]["name"]
    assert document["model_info"]["additional_details"]["fine_tuned_from"] == "org/bert"
    assert document["model_info"]["additional_details"]["model_availability"] == "unknown"


def test_samples_are_named(tmp_path):
    """A score of a part of the examples says so wherever it goes."""
    report = report_of(tmp_path, evaluated(settings=EVALUATED | {"eval_samples": 400, "eval_available": 872}))
    assert index_of(report)[0]["results"][0]["metrics"][0]["name"] == "Accuracy (400 of 872 examples)"
    assert yaml.safe_load(render("eval-results", report))[0]["notes"].endswith("400 of 872 examples")
    (result,) = documents(report)[0]["evaluation_results"]
    assert result["score_details"]["details"]["notes"] == "400 of 872 examples"
    assert "samples_number" not in result["source_data"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "fine-tuned here from org/bert-sst2"),
        ({"settings": TRAINED | {"teaching": {}}}, "distilled here from org/bert-sst2"),
        ({"revision": None, "warnings": (caution("random-start"),)}, "fine-tuned here from random weights"),
        ({"capped": True}, "training capped: 3,000 samples"),
        (
            {"warnings": (caution("not-learned", score=50.9, baseline="majority class", trivial=50.9),)},
            "learned nothing",
        ),
    ],
)
def test_how_a_score_came_about_goes_along(tmp_path, fields, words):
    """How a model was trained here, and what makes its score doubtful, is said of it."""
    model = {"make": without_checkpoint} if "revision" in fields else {}
    report = report_of(tmp_path, evaluated(settings=TRAINED) | fields, **model)
    assert words in index_of(report)[0]["results"][0]["metrics"][0]["name"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "fields",
    [
        {"weights": "random"},
        {"settings": SETTINGS | {"mode": "fine-tune"}, "warnings": (caution("random-start"),)},
    ],
    ids=["random weights", "trained from random weights"],
)
def test_random_weights_are_left_out(tmp_path, name, fields):
    """No score of random weights, or of training that began with them under a released model's name, is published."""
    report = report_of(tmp_path, evaluated(**fields))
    exporter = plugins.load("bertbench.report.formats", "format", name)
    text = render(name, report)
    said = text + "".join(getattr(exporter, "remarks", lambda _: ())(report))
    assert str(score_of(report)) not in text
    assert "left out: bert on sst2: not of the released weights, which could not be had" in said


def test_data_that_is_not_on_the_hub(tmp_path):
    """The Hub gets no score on data that it does not have, and is told so; Every Eval Ever has a place for it."""
    task = task_spec(dataset={"folder": "data/own"})
    report = report_of(tmp_path, evaluated(task=task))
    for name in FORMATS[:2]:
        assert render(name, report) == "# left out: bert on sst2: its data is not on the hub\n"
    assert documents(report)[0]["evaluation_results"][0]["source_data"] == {
        "dataset_name": "sst2",
        "source_type": "other",
    }


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_unmeasured(tmp_path, name):
    """Runs that failed, sizes and published figures are no scores: there is nothing to publish, which is said."""
    records = (size_record("bert"), failed("quality", "bert", task_name="sst2", seed=0))
    report = report_of(tmp_path, records=records)
    text = render(name, report)
    assert text in {"", "# nothing to publish: no scores were measured\n"}
    assert render(name, Report("r", ())) == text


def test_mean_of_metrics(tmp_path):
    """A score that is a mean is no metric: the Hub's card gets the metrics, the others the mean by its own name."""
    task = task_spec(metrics=("accuracy", "f1"), primary_metrics=("accuracy", "f1"))
    stored = stored_session(
        tmp_path, scored=[("bert", predictions(0.9), {"task": task, "settings": EVALUATED})],
        make=quality_record,
    )  # fmt: skip
    report = build(stored, {}, ("bert",), "bert")
    assert [metric["type"] for metric in index_of(report)[0]["results"][0]["metrics"]] == ["accuracy", "f1"]
    results = documents(report)[0]["evaluation_results"]
    assert [each["metric_config"]["metric_id"] for each in results] == ["accuracy", "f1", "bertbench.score"]
    assert yaml.safe_load(render("eval-results", report))[0]["notes"].startswith(
        "mean of accuracy and F1 as a share of 1"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_strange_names(tmp_path, name):
    """Whatever a record of a stranger holds, it forges no line, no key and no order."""
    evil = 'a: b\n- c: "d"\x1b[31m\u202e'
    task = TASK.model_copy(update={"title": evil})
    report = report_of(tmp_path, evaluated(task=task, checkpoint=evil))
    rows = tuple(replace(row, task=evil if row.task else None) for row in report.rows)
    records = tuple(replace(record, model=record.model | {"title": evil}) for record in report.records)
    text = render(name, replace(report, rows=rows, records=records))
    assert "\x1b" not in text
    assert "\u202e" not in text
    if name == "every-eval-ever":
        assert len(text.splitlines()) == 1
        json.loads(text)
    else:
        assert len(list(yaml.safe_load_all(text))) == 1
