"""What of a results folder is handed to others: what was recorded, whole, and nothing that logs somebody in."""

import html
import json

import pandas as pd
import pytest

from bertbench.errors import StoreError
from bertbench.models.checkpoints import part_of_saved
from bertbench.records.outgoing import collect, refuse_secrets
from bertbench.records.store import Store
from tests.factories import SESSION_ID, predictions, session_record, size_record, stored_session

TOKEN = "hf_" + "t0" * 17


@pytest.fixture
def folder(tmp_path):
    """A results folder with a session of a size and a score, and files that are nobody's."""
    stored_session(
        tmp_path,
        records=[size_record("bert")],
        scored=[("bert", predictions(0.9, n=20), {"finetuned_checkpoint": f"checkpoints/{'a' * 64}"})],
        session=session_record(("bert",)),
    )
    checkpoint = tmp_path / "checkpoints" / ("a" * 64)
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").write_text("{}")
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "sessions" / SESSION_ID / "notes.txt").write_text("mine")
    (tmp_path / ".env").write_text("x")
    return tmp_path


def all_of(folder, *, checkpoints=False):
    """Collect every session of a folder."""
    store = Store(folder)
    return collect(store, store.sessions(), checkpoints=part_of_saved if checkpoints else None)


def test_records_and_tables_are_taken_and_nothing_else(folder):
    """Session, records and tables; no file that lies beside them, and no checkpoint."""
    outgoing = all_of(folder)
    assert {name.rpartition("/")[0] for name in outgoing.files} == {f"sessions/{SESSION_ID}"}
    names = [name.rpartition("/")[2] for name in outgoing.files]
    assert "session.json" in names
    assert "notes.txt" not in names
    assert [name.rpartition(".")[2] for name in sorted(names)].count("parquet") == 1
    assert (outgoing.sessions, outgoing.records, len(names), outgoing.left_out) == (1, 2, 4, [])
    assert outgoing.size_bytes == sum(path.stat().st_size for path in outgoing.files.values())


def test_checkpoints_are_taken_where_they_are_asked_for(folder):
    """All files of the checkpoints of these sessions; one that is gone is said."""
    taken = all_of(folder, checkpoints=True).files
    assert {f"checkpoints/{'a' * 64}/{name}" for name in ("config.json", "model.safetensors")} < taken.keys()
    (folder / "checkpoints").rename(folder / "elsewhere")
    assert "its checkpoint is gone" in all_of(folder, checkpoints=True).left_out[0]


def test_of_a_checkpoint_only_its_parts_are_taken(folder):
    """What else lies in its folder is not handed on, and is named; a shard of the weights is."""
    checkpoint = folder / "checkpoints" / ("a" * 64)
    parts = ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.txt", "bertbench.json")
    others = (".env", "notes.txt", "optimizer.pt", "pytorch_model.bin", "runs/config.json", "training_args.bin")
    (checkpoint / "runs").mkdir()
    for name in (*parts, *others):
        (checkpoint / name).write_text(TOKEN if name in others else "{}")
    outgoing = all_of(folder, checkpoints=True)
    taken = {name.rpartition("/")[2] for name in outgoing.files if name.startswith("checkpoints/")}
    assert taken == {"config.json", "model.safetensors", *parts}
    (line,) = outgoing.left_out
    assert line == f"checkpoints/{'a' * 64}: {', '.join(others[:5])} and 1 more: no part of a checkpoint"


@pytest.mark.parametrize("name", ["bertbench.json", "spiece.model", "merges.txt", "config.json"])
def test_a_token_in_a_checkpoint_is_refused(folder, name):
    """Whatever is not weights is searched, with any ending."""
    (folder / "checkpoints" / ("a" * 64) / name).write_text(json.dumps({"from": f"line\n{TOKEN}"}))
    with pytest.raises(StoreError, match=f"{name}: holds a token"):
        all_of(folder, checkpoints=True)


def test_a_table_that_is_not_the_recorded_one_is_left_out_and_said(folder):
    """What was changed after measuring is not handed on as measured."""
    (table,) = folder.rglob("*.parquet")
    table.write_bytes(b"other")
    outgoing = all_of(folder)
    assert outgoing.left_out == [f"sessions/{SESSION_ID}/{table.name}: is not the file that was recorded"]
    assert not [name for name in outgoing.files if name.endswith(".parquet")]
    table.unlink()
    assert "cannot be read" in all_of(folder).left_out[0]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        (TOKEN, "a token"),
        ("AKIA" + "Q7" * 8, "an access key"),
        ("https://me:secret@hub.example/api", "an address with a password"),
    ],
)
def test_what_logs_in_is_refused(folder, word, kind):
    """A command line with a token in it goes nowhere; the message does not repeat it."""
    Store(folder).write_session(session_record(("bert",), argv=("compare", "--models", word)))
    with pytest.raises(StoreError, match=f"session.json: holds {kind}, and nothing is pushed") as caught:
        all_of(folder)
    assert word not in str(caught.value)


def test_what_this_machine_keeps_secret_is_refused_whatever_its_form(folder, monkeypatch):
    """The value of a variable that is named like a secret is one; short values occur by chance."""
    monkeypatch.setenv("COMPANY_API_TOKEN", "correct horse battery")
    monkeypatch.setenv("SHORT_TOKEN", "bert")
    all_of(folder)
    Store(folder).write_session(session_record(("bert",), argv=("compare", "correct horse battery")))
    with pytest.raises(StoreError, match=r"the value of \$COMPANY_API_TOKEN"):
        all_of(folder)


@pytest.mark.parametrize("before", ["line\n", "a\tb\t", "é", "<", "\N{GRINNING FACE}", "x"])
@pytest.mark.parametrize("token", [TOKEN, "ghp_" + "t0" * 17, "AKIA" + "Q7" * 8])
def test_tokens_are_seen_whatever_stands_before_them(before, token):
    """In JSON a line's end is a letter, which hides no token; neither does JSON within JSON, nor a page."""
    text = json.dumps({"argv": [before + token]})
    for content, name in ((text, "x.json"), (json.dumps(text), "x.json"), (text, "page.html")):
        with pytest.raises(StoreError, match="holds a"):
            refuse_secrets(content.encode(), name)


@pytest.mark.parametrize("content", [{"x": "line\nsk-" + "t0" * 20}, {"\tsk-" + "t0" * 20: 1}])
def test_keys_that_words_end_like_are_seen_too(content):
    """After a line's end 'sk-' is no part of a word; a name of an object is looked at as well."""
    for name in ("x.json", "page.html"):
        with pytest.raises(StoreError, match="holds a token"):
            refuse_secrets(json.dumps(content).encode(), name)


def test_an_escaped_token_is_seen():
    """JSON may write any letter by its number, and a name that stands twice hides nothing."""
    with pytest.raises(StoreError, match="holds a token"):
        refuse_secrets(f'{{"a": "\\u0068{TOKEN[1:]}", "a": 1}}'.encode(), "x.json")


@pytest.mark.parametrize(
    "value", ['correct "horse" battery', r"correct\horse\battery", "Pferd-Überwürfe-läuft", "a&b<c>d'e&f\"g"]
)
def test_values_that_json_writes_otherwise_are_seen(value, monkeypatch):
    """A password with signs that JSON or a page escapes is looked for in each form."""
    monkeypatch.setenv("COMPANY_PASSWORD", value)
    texts = [json.dumps({"x": [value]}, ensure_ascii=plain) for plain in (True, False)]
    pages = [html.escape(text) for text in (value, *texts)]
    for content, name in [*((text, "x.json") for text in texts), *((text, "x.html") for text in (*texts, *pages))]:
        with pytest.raises(StoreError, match=r"the value of \$COMPANY_PASSWORD"):
            refuse_secrets(content.encode(), name)


@pytest.mark.parametrize(
    "wrap",
    [str, str.encode, lambda text: [text], lambda text: {"a": [text]}],
    ids=("text", "bytes", "list", "structure"),
)
def test_tables_are_searched_though_they_are_compressed(wrap):
    """Texts count, and those in lists and structures; not only the first and last, which stand in a file as they are."""
    rows = [wrap(f"{text}{number}") for text in ("a", f"in {TOKEN} ", "z") for number in range(20)]
    with pytest.raises(StoreError, match="holds a token"):
        refuse_secrets(pd.DataFrame({"x": rows}).to_parquet(compression="gzip"), "x.parquet")
    refuse_secrets(predictions(0.9, n=20).to_parquet(), "x.parquet")


def test_a_table_that_cannot_be_searched_is_not_pushed():
    """What nobody can look into is not handed on."""
    with pytest.raises(StoreError, match="cannot be searched for secrets"):
        refuse_secrets(b"PAR1 and nothing", "x.parquet")


def test_a_table_with_a_token_stops_the_push(tmp_path):
    """A prediction may be what somebody typed."""
    rows = predictions(0.9, n=20).assign(text=["a", *[f"log in with {TOKEN}"] * 18, "z"])
    stored_session(tmp_path, scored=[("bert", rows, {})], session=session_record(("bert",)))
    with pytest.raises(StoreError, match="parquet: holds a token"):
        all_of(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "task-classification-of-sentences-in-pairs-of-two",
        "s3://bucket/path",
        "https://host:8080/a@b",
        "run:abc@1",
        "sk-bert",
        "hf_hub",
    ],
)
def test_plain_addresses_and_names_are_no_secrets(text):
    """Addresses with ports, and names that only begin like tokens, are pushed."""
    refuse_secrets(text.encode(), "x.json")


def test_links_lead_nowhere(folder, tmp_path_factory):
    """A record that was replaced by a link is not read, let alone handed on."""
    outside = tmp_path_factory.mktemp("outside") / "secret.json"
    (record,) = (path for path in (folder / "sessions" / SESSION_ID).glob("*.json") if "size" in path.name)
    record.rename(outside)
    record.symlink_to(outside)
    assert not [name for name in all_of(folder).files if "size" in name]
