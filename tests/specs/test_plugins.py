"""Leaf files found by name."""

import sys

import pytest

from bertbench.errors import UnknownNameError
from bertbench.specs import plugins


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one plugin and one private file, nothing of it imported."""
    folder = tmp_path / "leaves"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "_helper.py").write_text("raise RuntimeError('never imported')\n")
    (folder / "my_metric.py").write_text("PLUGIN = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "leaves"
    for name in [name for name in sys.modules if name.startswith("leaves")]:
        del sys.modules[name]


def test_file_is_a_plugin_by_its_stem(package):
    """A file is listed under its stem with '-' for '_', private ones are not, and listing imports none of them."""
    assert plugins.names(package) == ["my-metric"]
    assert f"{package}.my_metric" not in sys.modules


@pytest.mark.parametrize("name", ["my-metric", "my_metric"])
def test_plugin_is_loaded_by_either_spelling(package, name):
    """'-' and '_' are taken for each other."""
    assert plugins.load(package, "metric", name) == 42


def test_unknown_plugin_names_the_nearest(package):
    """A name without a file is refused with a suggestion."""
    with pytest.raises(UnknownNameError, match="unknown metric 'my-metrik'; did you mean 'my-metric'"):
        plugins.load(package, "metric", "my-metrik")


def test_package_that_does_not_exist_has_no_plugins():
    """A folder that is not there simply lists nothing."""
    assert plugins.names("bertbench.nothing_here") == []
