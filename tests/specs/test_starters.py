"""The YAML that `bertbench init` starts people with."""

import re

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from bertbench.specs.base import Name
from bertbench.specs.catalog import spec_types
from bertbench.specs.starters import STARTERS, StarterKind, is_name


def uncommented(text):
    """The file with every key that is a comment made one: '# key: value' and what is below it, but no sentence."""
    return re.sub(r"^(\s*)# ?(?=\s*(?:- )?(?:\{|[a-z_]\w*:(?:\s|$)))", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", StarterKind)
def test_a_starter_is_right_as_it_stands(kind):
    """What is written can be used before it is edited, and has no key that only repeats the file's name."""
    starter = STARTERS[kind]
    values = yaml.safe_load(starter.text.format(name="mine"))
    spec_types()[starter.folder](name="mine", **values)


@pytest.mark.parametrize("kind", StarterKind)
def test_comments_hold_keys_that_exist(kind):
    """Taking the marks of comments away gives a file that is right, too."""
    starter = STARTERS[kind]
    text = uncommented(starter.text.format(name="mine"))
    values = yaml.safe_load(text)
    assert len(values) > len(yaml.safe_load(starter.text.format(name="mine"))) or kind is StarterKind.SUITE
    spec_types()[starter.folder](name="mine", **values)


@pytest.mark.parametrize("kind", StarterKind)
def test_most_lines_explain(kind):
    """Every starter says what it is for, and has a comment for every second key."""
    lines = STARTERS[kind].text.splitlines()
    assert lines[0].startswith("# ")
    keys = [line for line in lines if re.match(r"[a-z_]+:", line)]
    assert sum("# " in line for line in lines) >= len(keys) / 2


@pytest.mark.parametrize("name", ["a", "my-model.2_b", "A", "-a", "", "a b", "a/b", "ä", "a" * 80, "a" * 81])
def test_names_are_those_of_specs(name):
    """What may be a name here is what the specs take."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        assert not is_name(name)
    else:
        assert is_name(name)
