"""The folder that cases work in, and the marker of every target."""

from pathlib import Path

import pytest

from tests.fuzz.cases import Yard

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Every test here is a fuzz target, whose clock is its cases' own."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.fuzz)
            item.add_marker(pytest.mark.timeout(0))
            # An edit may be a text of 64 kB: hypothesis warns that it shows it, where the test has not failed.
            item.add_marker(pytest.mark.filterwarnings("ignore:Generating overly large repr"))


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    """A folder of the user's, which is the working directory and the home of what is tested."""
    yard = Yard(tmp_path_factory.mktemp("yard"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(yard.free)
        patch.setenv("HOME", str(yard.root / "home"))
        yield yard
