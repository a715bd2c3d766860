"""JSON schemas: those in the package are those of the types, and take what bertbench takes."""

import json

import pytest

from bertbench import cli
from bertbench.records import schemas
from bertbench.records.files import to_json
from bertbench.specs.catalog import KINDS, Catalog
from tests.factories import (
    failed,
    memory_record,
    predictions,
    quality_record,
    session_record,
    size_record,
    speed_record,
    timing_rows,
)

jsonschema = pytest.importorskip("jsonschema")
CATALOG = Catalog()
CONFIGS = [(kind, name) for kind in KINDS for name in CATALOG.entries(kind)]
RECORDS = [
    size_record(),
    memory_record(),
    speed_record("bert", timing_rows({"bert": 0.1}, turns=2)),
    quality_record("bert", predictions(0.9)),
    failed("quality", "bert", task_name="sst2", seed=0),
]


def packaged(name):
    """A schema of the package."""
    return json.loads((schemas.packaged() / f"{name}.json").read_text(encoding="utf-8"))


def faults(name, content):
    """What a schema finds wrong, by the way to it."""
    validator = jsonschema.validators.validator_for(packaged(name))(packaged(name))
    return sorted(".".join(map(str, error.path)) for error in validator.iter_errors(content))


def test_the_packaged_ones_are_up_to_date():
    """`bertbench validate --write-schemas bertbench/schemas` would change nothing."""
    present = {path.name: path.read_text(encoding="utf-8") for path in schemas.packaged().iterdir()}
    assert present == schemas.texts()


@pytest.mark.parametrize("name", [*KINDS.values(), *schemas.RECORDS])
def test_they_are_schemas(name):
    """Each is right by the dialect that it names."""
    schema = packaged(name)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    assert schema["$schema"] == schemas.DIALECT


@pytest.mark.parametrize(("kind", "name"), CONFIGS)
def test_every_config_is_taken(kind, name):
    """All YAML files of the package are right by their schemas, with a name in them or without."""
    raw = CATALOG.raw(CATALOG.entry(kind, name))
    content = json.loads(json.dumps(raw))
    assert faults(KINDS[kind], content) == []
    del content["name"]
    assert faults(KINDS[kind], content) == []


def test_mistakes_are_found():
    """Unknown keys, wrong types, missing keys and bad hyperparameters are faults."""
    model = {"title": "T", "architecture": "bert", "checkpoint": "a/b"}
    assert faults("model", model) == []
    assert faults("model", model | {"chekpoint": "a/b"}) == [""]
    assert faults("model", model | {"title": 5}) == ["title"]
    assert faults("model", model | {"training": {"epochs": 0}}) == ["training.epochs"]
    assert faults("model", model | {"training": {"train_samples": 10}}) == ["training"]
    assert faults("suite", {"title": "S", "reference": "bert"}) == [""]
    recipe = {"title": "R", "source": "s", "tasks": {"sst2": {"learning_rate": 2e-5, "source": "Table 1"}}}
    assert faults("recipe", recipe) == []
    assert faults("recipe", recipe | {"tasks": {"sst2": {"rate": 2e-5}}}) == ["tasks.sst2"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.run_id)
def test_records_are_taken(record):
    """What is stored of a run is right by its schema; a damaged record is not."""
    content = json.loads(to_json(record))
    assert faults("run-record", content) == []
    assert content.keys() == packaged("run-record")["properties"].keys()
    assert faults("run-record", content | {"status": "great"}) == ["status"]


def test_sessions_are_taken():
    """What is stored of a session is right by its schema."""
    content = json.loads(to_json(session_record()))
    assert faults("session-record", content) == []
    assert content.keys() == packaged("session-record")["properties"].keys()
    assert faults("session-record", {**content, "models": "bert"}) == ["models"]


def test_writing_them(tmp_path, capsys):
    """`bertbench validate --write-schemas` writes the very same files; a place that cannot be is one line."""
    folder = tmp_path / "made" / "schemas"
    assert cli.main(["validate", "--write-schemas", str(folder)]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == schemas.texts()
    assert capsys.readouterr().out == f"9 schemas written to {folder}\n"
    (tmp_path / "file").touch()
    assert cli.main(["validate", "--write-schemas", str(tmp_path / "file")]) == 2
    assert "name a folder" in capsys.readouterr().err.lower()
