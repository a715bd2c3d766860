"""YAML configs of every kind and published figures, spoilt as values, as text and as bytes."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bertbench.commands import list as listing
from bertbench.commands.validate import check_all
from bertbench.specs import published
from bertbench.specs.catalog import KINDS, Catalog, packaged_folder
from bertbench.specs.claim_checks import usable
from tests.fuzz.cases import (
    edits_of_bytes,
    edits_of_values,
    fuzzed,
    is_yaml,
    packaged,
    run,
    spoilt,
    spoilt_bytes,
    tried,
    yaml_text,
)

FILES = [path for kind in KINDS for path in packaged(kind, ".yaml")]
VALUES = {path: yaml.safe_load(path.read_text()) for path in FILES}


@pytest.fixture(scope="module")
def mine(yard):
    """A folder of configs with one file at a time; check its catalog, which has no other."""

    def check(kind, name, content):
        folder = yard.free / "mine"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        path = folder / kind / name
        path.write_bytes(content)
        catalog = Catalog([folder])
        catalog.folders = (folder,)
        with yard.case():
            if kind == "published":
                tried(published.load, catalog)
            else:
                tried(catalog.check, catalog.entry(kind, path.stem))
                tried(listing.build_report, kind, catalog)
                tried(usable, catalog)
                check_all(catalog)
        path.unlink()

    return check


@fuzzed
@given(st.sampled_from(FILES), edits_of_values)
def test_values_of_configs(mine, path, edits):
    """A config in which values are others is taken or refused in one line."""
    values = spoilt(VALUES[path], edits)
    if is_yaml(values):
        mine(path.parent.name, path.name, yaml_text(values).encode())


@fuzzed
@given(st.sampled_from(FILES), edits_of_bytes)
def test_text_of_configs(mine, path, edits):
    """A config whose text is spoilt is taken or refused in one line."""
    mine(path.parent.name, path.name, spoilt_bytes(path.read_bytes(), edits))


@fuzzed
@given(st.sampled_from(sorted(KINDS)), st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_bytes_of_configs(mine, kind, content):
    """Any bytes are taken or refused in one line."""
    mine(kind, "x.yaml", content)


@fuzzed
@given(st.sampled_from(packaged("published", ".csv")), edits_of_bytes)
def test_published_figures(mine, path, edits):
    """A table of published figures that is spoilt is taken or refused in one line."""
    mine("published", path.name, spoilt_bytes(path.read_bytes()[:2000], edits))


def test_the_packaged_configs_are_taken(mine):
    """What is not spoilt passes, so that the targets begin with what is right."""
    assert packaged_folder().is_dir()
    for path in FILES:
        mine(path.parent.name, path.name, path.read_bytes())
    assert run("validate") == 0
