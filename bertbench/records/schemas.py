"""JSON schemas of configs and records, for editors and other programs: what the types say, in the words of JSON Schema.

They lie in bertbench/schemas, and `bertbench validate --write-schemas DIR` writes them elsewhere. What names refer to, and which
keys exclude each other, only `bertbench validate` checks; a number in quotation marks, which it takes, an editor marks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bertbench.records.files import SUM
from bertbench.records.record import RunRecord, SessionRecord
from bertbench.specs.catalog import KINDS, spec_types

DIALECT = "https://json-schema.org/draft/2020-12/schema"  # what pydantic writes
RECORDS: dict[str, Any] = {"run-record": RunRecord, "session-record": SessionRecord}
# By kind, the keys that hold some fields of a TrainingSpec, or such by name, which the types do not say.
PARTLY_TRAINING = {"models": ("training",), "recipes": ("common", "tasks")}
OF_TASKS_ALONE = "train_samples"


def packaged() -> Path:
    """Return the folder of the schemas that come with bertbench."""
    return Path(__file__).parents[1] / "schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """Build every schema by its name: 'model', 'task' and the like, 'run-record' and 'session-record'."""
    return {KINDS[kind]: _of_config(kind) for kind in spec_types()} | {name: _of_record(name) for name in RECORDS}


def texts() -> dict[str, str]:
    """Write every schema as the text of a file, by the file's name."""
    return {
        f"{name}.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in schemas().items()
    }


def _of_config(kind: str) -> dict[str, Any]:
    schema = {"$schema": DIALECT} | spec_types()[kind].model_json_schema()
    if "name" in schema["required"]:
        schema["required"].remove("name")  # a file's stem is its name
    for key in PARTLY_TRAINING.get(kind, ()):
        field = schema["properties"][key]
        for part in field["patternProperties"].values() if "patternProperties" in field else [field]:
            part.update(additionalProperties=False, properties=_training())
    return schema


def _training() -> dict[str, Any]:
    from bertbench.specs.tasks import TrainingSpec  # pydantic

    properties: dict[str, Any] = TrainingSpec.model_json_schema()["properties"]
    # Left out, a field is that of the task.
    return {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in properties.items()
        if name != OF_TASKS_ALONE
    }


def _of_record(name: str) -> dict[str, Any]:
    from pydantic import TypeAdapter

    schema = {"$schema": DIALECT} | TypeAdapter(RECORDS[name]).json_schema()
    schema["properties"][SUM] = {
        "description": "Check sum of all that stands before it.",
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
    }
    return schema
