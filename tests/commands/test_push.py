"""`bertbench push` and `bertbench report --push`: what is pushed, and what is refused before anything is."""

import pytest

from bertbench import cli
from tests.factories import SESSION_ID, predictions, session_record, size_record, stored_session
from tests.pushing import TOKEN, pushed_to

TO = ("push", "--to", "hf://datasets/me/it")


@pytest.fixture
def hub_of_test(monkeypatch):
    """A hub that takes what is pushed, with somebody logged in."""
    with pushed_to(monkeypatch) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    """A results folder with a session."""
    stored_session(
        tmp_path / "results",
        records=[size_record("bert")],
        scored=[("bert", predictions(0.9, n=20))],
        session=session_record(("bert",)),
    )
    return tmp_path / "results"


def run(capsys, *arguments):
    """Exit code, stdout and the error of a command."""
    code = cli.main([str(word) for word in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_sessions_are_pushed_with_a_card(folder, hub_of_test, capsys):
    """Records and tables arrive byte by byte, with a README that says what they are."""
    code, out, _ = run(capsys, *TO, "--results-dir", folder, "--private")
    assert code == 0
    assert f"pushed to {hub_of_test.address}/datasets/me/it: 1 session with 2 records, 4 files" in out
    sent = {name: content for name, content in hub_of_test.files.items() if name != "README.md"}
    assert sent == {name: (folder / name).read_bytes() for name in sent}
    assert len(sent) == 4
    assert b"tags: [bertbench" in hub_of_test.files["README.md"]
    assert hub_of_test.private


def test_pushed_results_can_be_read_again(folder, hub_of_test, tmp_path, capsys):
    """What is downloaded is a results folder."""
    run(capsys, *TO, "--results-dir", folder)
    for name, content in hub_of_test.files.items():
        path = tmp_path / "again" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    code, out, _ = run(capsys, "export", "--results-dir", tmp_path / "again")
    assert code == 0
    assert "bert" in out


def test_a_dry_run_asks_nobody(folder, capsys, hub_not_asked):
    """What would be pushed is shown without a hub and without a token."""
    code, out, _ = run(capsys, *TO, "--results-dir", folder, "--dry-run", "--private")
    assert code == 0
    assert out.startswith("would push to hf://datasets/me/it (private): 1 session with 2 records, 4 files")
    assert f"sessions/{SESSION_ID}/session.json" in out


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--session", "20200101T000000-abcdef"), "unknown session"),
        (("--results-dir", "nowhere"), "not there"),
    ],
)
def test_what_is_not_there_is_one_line(folder, capsys, options, error):
    """A session or a folder that does not exist is named."""
    code, _, err = run(capsys, *TO, "--dry-run", "--results-dir", folder, *options)
    assert (code, err.count("\n")) == (2, 1)
    assert error in err


def test_only_chosen_sessions_are_pushed(folder, capsys):
    """`--session` names them."""
    code, out, _ = run(capsys, *TO, "--dry-run", "--results-dir", folder, "--session", SESSION_ID)
    assert code == 0
    assert "1 session" in out


@pytest.mark.parametrize("to", ["hf://spaces/me/it", "me/it", "https://huggingface.co/datasets/me/it"])
def test_push_takes_a_data_set_of_the_hub(folder, capsys, to):
    """Anything else is refused at once."""
    code, _, err = run(capsys, "push", "--to", to, "--results-dir", folder)
    assert code == 2
    assert "Write hf://datasets/OWNER/NAME" in err


def test_nothing_is_pushed_with_a_token_in_it(folder, hub_of_test, capsys):
    """A token on a recorded command line stops the push before it begins."""
    stored_session(folder, session=session_record(("bert",), argv=("compare", "--models", TOKEN)))
    code, _, err = run(capsys, *TO, "--results-dir", folder)
    assert code == 2
    assert "holds a token, and nothing is pushed" in err
    assert TOKEN not in err
    assert hub_of_test.created == []
    assert hub_of_test.files == {}


def test_no_token_of_this_machine_is_pushed(folder, hub_of_test, capsys):
    """Nothing that is sent as a file holds what the library logs in with."""
    run(capsys, *TO, "--results-dir", folder)
    assert hub_of_test.files
    assert not [name for name, content in hub_of_test.files.items() if TOKEN.encode() in content]


def test_offline_is_said_before_anything_is_read(tmp_path, capsys):
    """Without a hub there is one line, whatever the folder holds; that there is no such folder is found out without asking a hub."""
    (tmp_path / "here").mkdir()
    for name, said in (("here", "cannot be reached"), ("nowhere", "not there")):
        code, _, err = run(capsys, *TO, "--results-dir", tmp_path / name)
        assert code == 2
        assert said in err


def test_a_page_becomes_a_space(folder, hub_of_test, tmp_path, capsys):
    """`report --push` writes the page and puts it where a Space shows it; in a data set it keeps its name."""
    pytest.importorskip("altair")
    page = tmp_path / "page.html"
    for kind, name in (("spaces", "index.html"), ("datasets", "page.html")):
        code, out, err = run(
            capsys, "report", "--output", page, "--results-dir", folder, "--push", f"hf://{kind}/me/it"
        )
        assert code == 0, err
        assert f"pushed to {hub_of_test.address}/{kind}/me/it" in out
        assert hub_of_test.files[name] == page.read_bytes()


def test_private_goes_with_push(folder, tmp_path, capsys):
    """A page that is not pushed cannot be private."""
    code, _, err = run(capsys, "report", "--output", tmp_path / "page.html", "--results-dir", folder, "--private")
    assert code == 2
    assert "--private goes with --push" in err
