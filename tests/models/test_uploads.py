"""What is pushed to the hub, and what is said when it refuses: against a hub of the test's own, which speaks the real one's protocol."""

import pytest

from bertbench.errors import HubError, UsageError
from bertbench.models import hub, uploads
from tests.pushing import TOKEN, Hub, pushed_to


@pytest.fixture
def hub_of_test(monkeypatch):
    """A hub that takes what is pushed, with somebody logged in."""
    with pushed_to(monkeypatch) as server:
        yield server


DATA_SET = uploads.Target("dataset", "me/it")


def push(target=DATA_SET, files=None, **options):
    """Push two small files."""
    values = {"private": False, "message": "figures", **options}
    return uploads.push(target, files or {"a.json": b"{}", "b/c.txt": b"text"}, **values)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("hf://datasets/me/it", DATA_SET),
        ("hf://datasets/me/it/", DATA_SET),
        ("hf://spaces/me/it-2.0", uploads.Target("space", "me/it-2.0")),
    ],
)
def test_address_names_a_repository(text, target):
    """Kind, owner and name."""
    assert uploads.parse_target(text, "--to") == target


@pytest.mark.parametrize(
    "text",
    [
        "me/it",
        "hf://me/it",
        "hf://models/me/it",
        "hf://datasets/it",
        "hf://datasets/me/it/x",
        "hf://datasets/me/a b",
        "hf://datasets/../it",
    ],
)
def test_other_addresses_are_refused(text):
    """The one line says how to write it."""
    with pytest.raises(UsageError) as caught:
        uploads.parse_target(text, "--to")
    assert "names no repository" in str(caught.value)
    assert "hf://datasets|spaces/OWNER/NAME" in str(caught.value)


def test_a_page_goes_to_no_data_set_where_only_data_sets_are_taken():
    """`push --to` takes no Space."""
    with pytest.raises(UsageError, match="names no repository"):
        uploads.parse_target("hf://spaces/me/it", "--to", ("datasets",))


def test_files_arrive_as_they_are(hub_of_test, tmp_path):
    """The repository is made, and the files are in it with what they hold, logged in by the library's own means."""
    (tmp_path / "table").write_bytes(b"\x00\x01")
    address = push(files={"sessions/a.json": b"{}", "sessions/b.parquet": tmp_path / "table"})
    assert address == f"{hub_of_test.address}/datasets/me/it"
    assert hub_of_test.files == {"sessions/a.json": b"{}", "sessions/b.parquet": b"\x00\x01"}
    (made,) = hub_of_test.created
    assert (made["name"], made["organization"], made["type"]) == ("it", "me", "dataset")
    assert hub_of_test.tokens == {f"Bearer {TOKEN}"}


def test_many_files_are_several_commits(hub_of_test, monkeypatch):
    """No commit is larger than the hub takes."""
    monkeypatch.setattr(uploads, "FILES_A_COMMIT", 2)
    told = []
    files = {f"{number}.json": b"{}" for number in range(5)}
    push(files=files, progress=lambda _, done, total: told.append((done, total)))
    assert hub_of_test.files == files
    assert hub_of_test.commits == 3
    assert told[-1] == (5, 5)


def test_readme_of_others_is_kept(hub_of_test):
    """A card is written where there is none, and only there."""
    push(card=b"ours")
    assert hub_of_test.files["README.md"] == b"ours"
    hub_of_test.files["README.md"] = b"theirs"
    push(card=b"ours again")
    assert hub_of_test.files["README.md"] == b"theirs"


def test_private_is_private_or_nothing_is_pushed(hub_of_test, monkeypatch):
    """A new repository is made private; into one that others see nothing goes."""
    push(private=True)
    assert hub_of_test.private
    hub_of_test.files.clear()
    monkeypatch.setattr(Hub, "do_GET", lambda self: self.answer(200, {"id": "me/it", "private": False, "siblings": []}))
    with pytest.raises(HubError, match="everybody can see it, so with --private nothing is pushed"):
        push(private=True)
    assert hub_of_test.files == {}


def test_a_space_is_a_static_page(hub_of_test):
    """A Space is made of the kind that shows a page as it is."""
    address = push(uploads.Target("space", "me/it"), {uploads.PAGE_OF_SPACE: b"<html>"})
    assert address.endswith("/spaces/me/it")
    assert hub_of_test.created[0]["sdk"] == "static"
    assert hub_of_test.files == {"index.html": b"<html>"}


@pytest.mark.parametrize(
    ("part", "status", "message"),
    [
        ("/repos/create", 401, "the hub does not accept the token"),
        ("/repos/create", 403, "you may not write there"),
        ("/repos/create", 404, "no such owner"),
        ("/commit/", 403, "you may not write there"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub_of_test, part, status, message):
    """Where, what, and what to do next; the token is not repeated."""
    hub_of_test.refusals = {part: status}
    with pytest.raises(HubError) as caught:
        push()
    assert str(caught.value).startswith(f"hf://datasets/me/it: {message}")
    assert caught.value.hint
    assert TOKEN not in str(caught.value)
    assert hub_of_test.files == {}


def test_nobody_logged_in_is_said_before_anything_is_asked(hub_of_test, monkeypatch):
    """Without a token the hub would refuse after everything was read."""
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="nobody is logged in") as caught:
        push()
    assert "hf auth login" in caught.value.hint
    assert hub_of_test.tokens == set()


def test_without_a_hub_it_is_said_at_once(monkeypatch):
    """Offline, or out of reach: one line, no retries."""
    with pytest.raises(HubError, match="cannot be reached"):
        push()
    hub.state.cache_clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push()
