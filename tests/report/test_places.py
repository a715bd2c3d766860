"""Files that the user names: modes, links, devices; and files that the store writes."""

import os
import stat

import pytest

from bertbench.errors import StoreError, UsageError
from bertbench.records.files import write_atomically
from bertbench.report import output
from bertbench.report.row import Report, Row

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes and links as Unix has them")
REPORT = Report("r", (), (Row(model="bert", value=1.0),))


def emit(place):
    """A report into a file, proved before as commands do."""
    output.check_output(place)
    output.emit(REPORT, format="csv", output=place, layout="long")


def mode(path):
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002, 0o000])
def test_new_files_have_the_mode_that_the_umask_leaves(tmp_path, umask):
    """A private umask gives private files, a group's umask files that the group may write."""
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "new", lambda path: path.write_text("x"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o666 & ~umask


@pytest.mark.parametrize("existing", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, existing):
    """What was private stays private, before and after it is whole."""
    place, seen = tmp_path / "out.csv", []
    place.touch()
    place.chmod(existing)

    def fill(scratch):
        seen.append(mode(scratch))
        scratch.write_text("x")

    write_atomically(place, fill)
    assert (mode(place), seen, place.read_text()) == (existing, [0o600], "x")


@pytest.mark.parametrize("is_there", [True, False])
def test_an_output_that_is_a_link_is_followed(tmp_path, capsys, is_there):
    """The link stays; the file that it names, there or not, holds the report, and nothing is left beside either."""
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "out.csv"
    if is_there:
        real.write_text("old")
        real.chmod(0o600)
    link.symlink_to(os.path.join("elsewhere", "real"))  # noqa: PTH118 (as `ln -s` writes it)
    emit(link)
    assert link.is_symlink()
    assert "bert" in real.read_text()
    assert not is_there or mode(real) == 0o600
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "out.csv", "real"]


def test_a_link_in_the_store_is_replaced_itself(tmp_path):
    """A record's place that is a link leads nowhere: what it points to is not touched."""
    (tmp_path / "foreign").write_text("mine")
    (tmp_path / "record.json").symlink_to(tmp_path / "foreign")
    write_atomically(tmp_path / "record.json", lambda path: path.write_text("x"))
    assert (tmp_path / "foreign").read_text() == "mine"
    assert not (tmp_path / "record.json").is_symlink()


@pytest.mark.parametrize("what", ["fifo", "device", "loop", "folder", "missing folder", "standard output"])
def test_what_is_no_plain_file_is_refused_before_any_work(tmp_path, what):
    """Pipes and devices are not replaced by files, nor the file that standard output goes to; each is one line."""
    target, link = tmp_path / "target", tmp_path / "out.csv"
    link.symlink_to({"device": "/dev/null", "loop": link, "missing folder": target / "x"}.get(what, target))
    with (tmp_path / "log").open("w") as stream, pytest.MonkeyPatch.context() as patch:
        if what == "fifo":
            os.mkfifo(target)
        if what == "folder":
            target.mkdir()
        if what == "standard output":
            target.hardlink_to(tmp_path / "log")
            patch.setattr(output, "STREAMS", (stream.fileno(),))
        with pytest.raises(UsageError) as caught:
            output.check_output(link)
        if what not in {"missing folder", "folder"}:
            with pytest.raises(StoreError):
                output.write_file(link, "--output", lambda path: path.write_text("x"))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert link.is_symlink()
    assert not target.exists() or what in {"fifo", "folder", "standard output"}


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    """Longer than the file system takes."""
    with pytest.raises(UsageError, match="--output"):
        output.check_output(tmp_path / f"{'x' * 300}.csv")
    with pytest.raises(UsageError, match="no folder"):
        output.check_output(tmp_path / ("x" * 300) / "out.csv")
