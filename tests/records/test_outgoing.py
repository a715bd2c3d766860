"""What of a results folder is handed to others: what was recorded, whole, and nothing that logs somebody in."""

import pytest

from bertbench.errors import StoreError
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
    return collect(store, store.sessions(), checkpoints=checkpoints)


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


@pytest.mark.parametrize("text", ["s3://bucket/path", "https://host:8080/a@b", "run:abc@1", "sk-bert", "hf_hub"])
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
