"""Charts as files."""

import pytest

from bertbench.errors import StoreError, UsageError
from bertbench.report.page import pictures
from bertbench.report.row import Report


def test_every_chart_is_written_twice(size_report, tmp_path):
    """A chart is an SVG with its title and a PNG; what there is nothing for is left out."""
    files = pictures.write(size_report, tmp_path)
    assert [file.name for file in files] == ["parameters.svg", "parameters.png"]
    assert "Parameters: stored and executed" in files[0].read_text()
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert pictures.summary(tmp_path, files) == f"{tmp_path}: 1 chart, as .svg and .png"


def test_nothing_to_draw(tmp_path):
    """A report without figures gives no pictures, which is said."""
    assert pictures.write(Report("R", ()), tmp_path) == []
    assert "there is nothing to draw" in pictures.summary(tmp_path, [])


def test_folder_is_made_and_proved(tmp_path):
    """A folder is made before work starts; a file in its way is said."""
    pictures.check(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--plots .*file: cannot be written to"):
        pictures.check(tmp_path / "file")


def test_file_that_cannot_be_written(size_report, tmp_path):
    """What goes wrong at the end is one line."""
    with pytest.raises(StoreError, match="cannot be written"):
        pictures.write(size_report, tmp_path / "gone")
