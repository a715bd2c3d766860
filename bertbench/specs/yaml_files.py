"""One YAML file as values, and what is wrong with it: by key, line, and what the file says in its own words.

YAML takes some plain words for something else: no, yes, on and off for true and false, 012 for 10, 1:30 for 90. Nothing is
guessed: where text is expected, or a number is not written as people write it, the file is refused and the message says
what to quote.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from bertbench.errors import ConfigError, first_line
from bertbench.specs import text_files

if TYPE_CHECKING:
    from pydantic import ValidationError

Keys = Sequence[str | int]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is the faster one, where PyYAML was built with it
_TAG = "tag:yaml.org,2002:"
_ODD_NUMBER = re.compile(r"[-+]?0[0-9_]+$|.*:")  # octal, or to the base of 60
_LISTED = 12  # entries of a list that a message repeats
_LONGEST_NUMBER = 40  # characters; a number to the base of 60 takes time by the square of its length
_LIMIT_BYTES = 2**20  # a config has some kB
_MOST_NODES = 100_000  # of a file, whatever anchors repeat counted as often as it is repeated
_DEEPEST, _MOST_FAULTS = 50, 100  # levels; findings that are told


class _OddError(yaml.constructor.ConstructorError):
    """Something that YAML allows and that is not taken, as it may mean two things."""

    def __init__(self, problem: str, hint: str, node: Any) -> None:
        super().__init__(None, None, problem, node.start_mark)
        problem = _short(problem, 160)
        self.finding = f"line {node.start_mark.line + 1}: {problem}"
        self.hint = hint


class _Loader(_LOADER):  # type: ignore[misc,valid-type]
    """Safe loading that refuses what would silently be something else, and a key given twice: the second would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.tag != f"{_TAG}str":
                raise _OddError(
                    f"a key must be text, found {_short(key.value)}", f"quote it: {quoted(_short(key.value))}", key
                )
            if key.value in seen:
                problem = f"key '{_short(key.value)}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep))

    def number(self, node: yaml.ScalarNode) -> Any:
        """Read a number that is written as people write it."""
        if not isinstance(node, yaml.ScalarNode):  # a tag may call a list a number
            return self.tagged(node)
        text = node.value
        if len(text) > _LONGEST_NUMBER:
            raise _OddError(f"YAML takes {_short(text)} for a number", "quote it if it is text", node)
        if text.lower().lstrip("+-") in {".inf", ".nan"}:
            raise _OddError(f"{text} is not a finite number", "give a number, or leave the key out", node)
        is_whole = node.tag == f"{_TAG}int"
        try:
            value = self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)
        except (ValueError, IndexError):  # only a tag leads here
            raise _OddError(
                f"{quoted(text)} is not a number", "leave the tag out, or correct the number", node
            ) from None
        if not math.isfinite(value):
            raise _OddError(f"{text} is not a finite number", "give a number, or leave the key out", node)
        # Of 012 and 1:30 people and YAML think differently, of 012.5 they do not.
        if _ODD_NUMBER.match(text) and (is_whole or ":" in text):
            hint = f"write {value} if that is meant, {quoted(text)} if it is text"
            raise _OddError(f"YAML takes {text} for {value}", hint, node)
        return value

    def date(self, node: yaml.ScalarNode) -> Any:
        """Refuse a date: no key takes one."""
        text = _short(str(node.value))
        raise _OddError(f"YAML takes {text} for a date", f"quote it: {quoted(text)}", node)

    def truth(self, node: yaml.ScalarNode) -> Any:
        """Read true or false, if the word is one of those that mean it."""
        known = isinstance(node, yaml.ScalarNode) and node.value.lower() in self.bool_values
        return self.construct_yaml_bool(node) if known else self.tagged(node)

    def tagged(self, node: yaml.Node) -> Any:
        """Refuse what a tag makes of it: bytes, sets, pairs and objects are no values of a config."""
        raise _OddError(f"the tag {_short(node.tag.replace(_TAG, '!!'))} is not taken here", "leave the tag out", node)


_Loader.add_constructor(f"{_TAG}int", _Loader.number)
_Loader.add_constructor(f"{_TAG}float", _Loader.number)
_Loader.add_constructor(f"{_TAG}timestamp", _Loader.date)
_Loader.add_constructor(f"{_TAG}bool", _Loader.truth)
for _name in ("binary", "omap", "pairs", "set"):
    _Loader.add_constructor(_TAG + _name, _Loader.tagged)
_Loader.add_constructor(None, _Loader.tagged)  # None: every other tag


def _check_bounds(text: str) -> None:
    """Refuse a file that holds too much, before anything is made of it: anchors of anchors multiply.

    Raises:
        yaml.YAMLError: it holds too much, or is no YAML.
    """
    sizes: dict[str | None, int] = {}  # by anchor, of what stands whole before
    within: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in within):
                raise _OddError(f"*{_short(str(event.anchor))} leads to itself", "write the values out", event)
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = within.pop()
            sizes |= {anchor: count - before} if anchor else {}
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                within.append((event.anchor, count - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        if count > _MOST_NODES:
            raise _OddError(f"more than {_MOST_NODES:,} entries, with what anchors (*) repeat", "use fewer", event)
        if len(within) > _DEEPEST:
            raise _OddError(
                f"nested more than {_DEEPEST} deep", "no config is: correct brackets and indentation", event
            )


def read_yaml(path: Path, name: str) -> dict[str, Any]:
    """Read the mapping in a YAML file, safe-loaded, with `name` as the default of its 'name'.

    Raises:
        ConfigError: unreadable, not YAML, a key given twice, an odd number or a date, or not a mapping.
    """
    try:
        text = text_files.read(path, limit_bytes=_LIMIT_BYTES)
    except (OSError, ValueError) as error:
        finding = f"cannot be read ({error})"
        raise ConfigError(f"{path}: {finding}", finding=finding) from None
    try:
        _check_bounds(text)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except _OddError as error:
        raise ConfigError(f"{path}, {error.finding}", error.hint, finding=error.finding) from None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # odd values are no YAMLError
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or first_line(error)
        finding = f"not valid YAML ({_short(problem, 160)})"
        line = f"line {mark.line + 1}: " if mark else ""
        message = f"{path}{', ' if mark else ': '}{line}{finding}"
        raise ConfigError(message, "check indentation and quotes", finding=line + finding) from None
    if not isinstance(data, dict):
        finding = f"expected 'key: value' lines, found {type(data).__name__}"
        raise ConfigError(f"{path}: {finding}", finding=finding)
    return {"name": name} | data


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: the path of its key, what kind of fault (pydantic's name), found, expected, line."""

    keys: tuple[str | int, ...]
    kind: str
    found: str
    expected: str
    line: int | None

    @property
    def key(self) -> str:
        """The path as people write it: 'training.epochs'."""
        return ".".join(map(str, self.keys))


class RawYaml:
    """What a YAML file says, before it is taken for anything. Of a file that cannot be read nothing is known."""

    def __init__(self, path: Path) -> None:
        try:
            _check_bounds(text := text_files.read(path, limit_bytes=_LIMIT_BYTES))
            self._root = yaml.compose(text, Loader=_LOADER)
        except (OSError, ValueError, yaml.YAMLError):
            self._root = None

    def node(self, keys: Keys) -> yaml.Node | None:
        """Return what stands at a path of keys, or None."""
        node = self._root
        for key in keys:
            node = _below(node, key)
        return node

    def line(self, keys: Keys) -> int | None:
        """Return the line of a key, from 1; of one that is not there the line of what it is missing from."""
        for end in range(len(keys), 0, -1):
            if (node := self.node(keys[:end])) is not None:
                return int(node.start_mark.line) + 1
        return None

    def word(self, keys: Keys) -> str | None:
        """Return a single value as it is written, or None."""
        node = self.node(keys)
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def words(self, keys: Keys) -> list[str]:
        """Return the single values of a list as they are written."""
        node = self.node(keys)
        entries = node.value if isinstance(node, yaml.SequenceNode) else ()
        return [entry.value for entry in entries if isinstance(entry, yaml.ScalarNode)]


def _below(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and str(key).isdecimal() and int(key) < len(node.value):
        return cast("yaml.Node", node.value[int(key)])
    return None


def faults(error: ValidationError, path: Path) -> Iterator[Fault]:
    """Yield a validation error's findings, with what the file says; unquoted words of one list are one."""
    written = RawYaml(path)
    lists: dict[tuple[str | int, ...], list[Any]] = {}
    items = error.errors(include_url=False)
    within = {item["loc"][:-1] for item in items}
    for item in items[:_MOST_FAULTS]:
        if item["type"] == "too_short" and item["loc"] in within:
            continue  # pydantic counts the entries that are right
        keys, value = item["loc"], item["input"]
        message = item["msg"].removeprefix("Value error, ")
        word, line = written.word(keys), written.line(keys)
        if item["type"] == "string_type" and word is not None and not isinstance(value, str):
            if keys and isinstance(keys[-1], int):
                lists.setdefault(keys[:-1], []).append((word, value))
            elif word:
                wanted = f"{keys[-1]}: {quoted(_short(word))}" if keys else quoted(_short(word))
                yield Fault(keys, "unquoted", _taken([(word, value)]), f"quote it: {wanted}", line)
            else:
                yield Fault(keys, item["type"], "nothing", "a text, or leave the key out", line)
            continue
        shown_value = "" if isinstance(value, dict) or not keys else f"{value!r:.60}"
        shown = _short(word) if word and not isinstance(value, str) else shown_value
        yield Fault(keys, item["type"], shown, message, line)
    for keys, odd in lists.items():
        everything = [quoted(_short(entry)) for entry in written.words(keys)]
        more = ", …" if len(everything) > _LISTED else ""
        wanted = f"{keys[-1] if keys else 'list'}: [{', '.join(everything[:_LISTED])}{more}]"
        yield Fault(keys, "unquoted", _taken(odd), f"quote them: {wanted}", written.line(keys))


def describe(error: ValidationError, path: Path) -> str:
    """Describe a validation error's findings in one line: key path, what was expected, what was found, the line."""
    return "; ".join(_described(fault) for fault in faults(error, path))


def _described(fault: Fault) -> str:
    key = f"key '{_short(fault.key) or 'file'}'"
    if fault.kind == "missing":
        return f"{key} is missing"
    where = f" (line {fault.line})" if fault.line else ""
    if fault.kind == "extra_forbidden":
        return f"{key} is not known{where}"
    if fault.kind == "unquoted":
        return f"{key}: {fault.found}; {fault.expected}{where}"
    expected = fault.expected[:1].lower() + fault.expected[1:]
    return f"{key}: {expected}{f', found {fault.found}' if fault.found else ''}{where}"


def _taken(odd: Sequence[tuple[str, Any]]) -> str:
    """Say what YAML makes of words: 'YAML takes no, yes for true or false, not for text'."""
    words = dict.fromkeys(_short(word) or "an empty entry" for word, _ in odd[:_LISTED])
    kinds = dict.fromkeys(_kind(value) for _, value in odd)
    return f"YAML takes {', '.join(words)} for {' and '.join(kinds)}, not for text"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    return "a date" if isinstance(value, date) else "a number"


def _short(text: str, most: int = 60) -> str:
    """Shorten a text to at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(text: str) -> str:
    """Quote a text so that YAML reads it as text for certain."""
    return "'" + text.replace("'", "''") + "'"


def to_yaml(*documents: Any) -> str:
    """Write values as YAML documents, keys in their order, texts quoted where YAML would take them for something else."""
    return str(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120))
