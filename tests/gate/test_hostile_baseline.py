"""A baseline out of a stranger's clone: refused in one line, whatever it holds; nothing is read through links."""

import copy
import hashlib
import io
import json
import math
import os
import random
from dataclasses import replace

import pandas as pd
import pytest

from bertbench.errors import BertBenchError, StoreError
from bertbench.gate import baseline as stored
from bertbench.gate.baseline import Fingerprints, read
from bertbench.gate.finding import Margins
from bertbench.gate.judging import against_baseline
from bertbench.gate.saving import write
from bertbench.gate.scores import score_finding
from tests.gate.conftest import MODEL, TASK, make_checkpoint, saved


@pytest.fixture
def place(tmp_path, before):
    """A saved baseline with a checkpoint beside it."""
    write(before, tmp_path / "saved", {"kept": make_checkpoint(tmp_path / "one")})
    return tmp_path / "saved"


def rewritten(place, *keys, value):
    """The baseline with another value at the end of a path of keys."""
    file = place / "baseline.json"
    content = json.loads(file.read_text())
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    file.write_text(json.dumps(content))


IMPOSSIBLE = [
    (("counts", MODEL, "parameters unique"), (0, -5, 1.5, 1e300, "66", True, None)),
    (("peak_memory", MODEL, "1x128"), (0, -1, 0.5, 1e300, "1")),
    (("scores", 0, "score"), (5, -1.01, 1e300, "0.9", True)),
    (("scores", 0, "n"), (-1, 1.5, 10**400, "5")),
    (("scores", 0, "checkpoint", "outputs", 0), (1e300, "0.5", None)),
    (("scores", 0, "checkpoint", "weights", "a.weight"), ([-1], [1.5], "2x3")),
    (("times", 0, "log_ratios"), ([], [1e300, 0], [-800, 0], [10**400], ["0"], 3)),
    (("options", "threads"), (0, -4, 1.5, "1", 10**400, True)),
    (("options", "seeds"), ([-1], [1.5], "0")),
    (("options", "epochs"), (0, -1, 1e300, "3")),
    (("options", "eval_samples"), (0, -1, 2.5)),
    (("weights", MODEL, "b.weight"), ([-4],)),
]


@pytest.mark.parametrize(("keys", "value"), [(keys, value) for keys, values in IMPOSSIBLE for value in values])
def test_figures_that_cannot_be_are_refused(place, keys, value):
    """No memory, half a parameter, a score of 5, ratios beyond all exponents: one line that says where."""
    rewritten(place, *keys, value=value)
    with pytest.raises(StoreError, match=r"is damaged|cannot be read") as caught:
        read(place)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("kept", ["..", "a/b", "a\\b", "c:x", "/x", "a\0b", "-x", ".hidden", "a\n", "~", "", " "])
def test_names_of_checkpoints_are_plain(place, kept):
    """No separator of any system, no drive, no character that ends a name."""
    rewritten(place, "scores", 0, "checkpoint", "kept", value=kept)
    with pytest.raises(StoreError, match="does not lie beside it"):
        read(place)


@pytest.mark.parametrize("link", ["", "kept", "kept/model.safetensors", "kept/tokenizer.json"])
def test_links_among_the_checkpoints_are_refused(place, tmp_path, link):
    """The folder, a checkpoint or a file of it that is a link: what was committed is what is gated."""
    path = place / "baseline.checkpoints" / link
    if path.exists():
        path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        read(place)


def with_parquet(place, content):
    """The baseline with other predictions, whose check sum stands in it."""
    (place / "baseline.parquet").write_bytes(content)
    rewritten(place, "predictions_sha256", value=hashlib.sha256(content).hexdigest())


def parquet_of(**columns):
    """A parquet file's bytes."""
    stream = io.BytesIO()
    pd.DataFrame(columns).to_parquet(stream, index=False)
    return stream.getvalue()


GOOD = {"example_id": ["1"], "prediction": ["1"], "label": ["0"], "model": [MODEL], "task": [TASK]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1" + b"\xff" * 100 + b"PAR1",
        parquet_of(a=[1]),
        parquet_of(**(GOOD | {"prediction": [1]})),
        parquet_of(**(GOOD | {"prediction": [None]})),
        *(parquet_of(**(GOOD | {"prediction": [cell]})) for cell in ("NaN", "1e999", "{", "[" * 100_000, "true", '"x"', "9" * 500)),
        parquet_of(**(GOOD | {"label": ["[]"]})),
    ],
)  # fmt: skip
def test_predictions_of_anybodys_making_are_one_line(place, content):
    """Another schema, no parquet at all, cells that are no JSON or no predictions, all with the right check sum."""
    with_parquet(place, content)
    with pytest.raises(StoreError, match="holds no predictions") as caught:
        read(place)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["token-classification", "question-answering"])
@pytest.mark.parametrize("cell", ["1", '"{"', '"3"', '"[1]"', '"{}"'])
def test_answers_and_tags_are_texts_of_such(place, kind, cell):
    """What metrics would stumble over is refused when it is read."""
    rewritten(place, "scores", 0, "kind", value=kind)
    with_parquet(place, parquet_of(**(GOOD | {"prediction": [cell], "label": ['"[]"']})))
    with pytest.raises(StoreError, match="holds no predictions"):
        read(place)


@pytest.mark.parametrize("limit", ["MOST_VALUES", "MOST_BYTES"])
def test_predictions_beyond_all_measure_are_not_unpacked(place, monkeypatch, limit):
    """A small file may stand for more than the memory holds."""
    monkeypatch.setattr(f"bertbench.records.sidecars.{limit}", 10)
    with pytest.raises(StoreError, match="are too much"):
        read(place)


def test_predictions_that_no_metric_takes_are_inconclusive():
    """Tags of another sentence's length: a finding with the reason, not the end of the check."""
    score = replace(saved().baseline.scores[0], kind="token-classification", metrics=("entity-f1",))
    frame = pd.DataFrame({"example_id": ["1"], "prediction": ['["O"]'], "label": ['["O", "B-PER"]']})
    found = score_finding(score, score, (frame, frame), 0.99)
    assert (found.verdict, found.measured) == ("inconclusive", False)
    assert "1 tags for 2 words" in found.reason


ODD = (
    0,
    -1,
    1.5,
    10**400,
    1e308,
    -1e308,
    5e-324,
    "",
    "..",
    "\0",
    "x" * 3000,
    None,
    True,
    [],
    {},
    [[]],
    {"a": 1},
    [1e300] * 3,
)


def mutated(content, generator):
    """The same JSON with one value somewhere replaced, removed or doubled."""
    content = copy.deepcopy(content)
    part = content
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return content
        key = generator.choice(keys)
        if isinstance(part[key], dict | list) and part[key] and generator.random() < 0.85:
            part = part[key]
            continue
        if generator.random() < 0.15:
            del part[key]
        else:
            part[key] = generator.choice(ODD)
        return content


def judge(found):
    """All findings of a baseline against a session that is as it should be; figures are finite."""
    now = saved()
    prints = Fingerprints({(MODEL, TASK): now.baseline.scores[0].checkpoint})
    findings = against_baseline(found, now, [MODEL], ["size", "quality", "speed", "memory"], Margins(), prints)
    for finding in findings:
        estimate = finding.estimate
        assert estimate is None or all(
            value is None or math.isfinite(value) for value in (estimate.value, estimate.low, estimate.high)
        )


def test_no_change_of_a_baseline_ends_in_a_traceback(place):
    """Whatever single value of the JSON is another: read and judged with finite figures, or one line."""
    file = place / "baseline.json"
    content, generator = json.loads(file.read_text()), random.Random(20261128)
    lines = []
    for _ in range(40):
        file.write_text(json.dumps(mutated(content, generator)))
        try:
            judge(read(place))
        except BertBenchError as error:
            lines.append(error.message)
    assert lines
    assert not any("\n" in line for line in lines)


def test_files_that_never_end_are_not_read(place, tmp_path):
    """A pipe in a baseline's place, or predictions that are a link to a device, are one line each."""
    (place / "baseline.parquet").rename(tmp_path / "aside")
    (place / "baseline.parquet").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match=r"baseline\.parquet: a link"):
        read(place)
    (place / "baseline.json").unlink()
    os.mkfifo(place / "baseline.json")
    with pytest.raises(StoreError, match="pipe or a device"):
        read(place)
    (place / "baseline.json").unlink()
    (place / "baseline.json").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match="pipe or a device"):
        read(place)


def test_numbers_of_predictions_are_numbers_of_one_kind():
    """A label of twenty digits is a float as the others are, not a column of objects."""
    table = pd.DataFrame(
        {"example_id": ["1"], "prediction": ["1"], "label": ["100000000000000000000"], "model": ["m"], "task": ["t"]}
    )
    (frame,) = stored._by_model_and_task(table, {("m", "t"): "sequence-classification"}).values()
    assert [str(frame[name].dtype) for name in ("prediction", "label")] == ["int64", "float64"]


def test_a_score_that_rounding_makes_is_read_back(tmp_path, before):
    """What a record may hold, a correlation a hair above 1, a baseline may hold, too."""
    score = replace(before.baseline.scores[0], score=1.0000000000000002)
    write(replace(before, baseline=replace(before.baseline, scores=(score,))), tmp_path / "saved", {})
    assert read(tmp_path / "saved").baseline.scores[0].score > 1
