"""Nothing takes apart text that this program wrote: what code decides by are typed facts, and words are made at the end."""

import ast
from pathlib import Path

import pytest

import bertbench

PACKAGE = Path(bertbench.__file__).parent
PACKAGES = ("report", "gate", "stats", "session", "commands", "records", "quality")

# What names text that a person reads. A variable, a field or a property so called is shown, never taken apart.
PROSE = {
    "caveat", "detail", "interval_method", "interval_scope", "label", "lines", "message", "method", "note", "notes", "reason",
    "run_ids", "scope", "sentence", "shape", "title", "verdict", "warning", "warnings", "wording",
}  # fmt: skip
TAKING_APART = {
    "endswith",
    "find",
    "index",
    "partition",
    "removeprefix",
    "removesuffix",
    "rpartition",
    "rsplit",
    "split",
    "startswith",
}
CUTTING = {"partition", "removeprefix", "removesuffix", "rpartition"}
JOINTS = ("; ", ": ")  # with which this program joins what it says

# By file and function: why it may. Text of others, input of a user, or identifiers that are no sentences.
EXCEPTIONS = {
    "report/tables/figures.py:fields_of_shape": "'1x128' is a key of records, no sentence",
    "report/tables/figures.py:way_label": "a back-end's name ends with its number format: both are names",
    "report/page/page.py:_accented": "marks what the table itself names as accented; decides nothing",
    "report/formats/markdown.py:": "escapes what Markdown would read, in any text",
    "gate/check.py:with_baseline": "the kinds in a scope, which are no text",
    "gate/baseline.py:": "names of files that may be anybody's",
    "stats/answer_scores.py:": "answers are compared as SQuAD's script does it",
    "session/selection.py:": "a hub id that the user types",
    "records/bounds.py:": "ids and names of files that may be anybody's",
    "records/environment.py:": "what the operating system says of the processor",
    "records/environment.py:resolve_device": "a device that the user types",
    "records/files.py:": "signs that no text may hold",
    "records/garbage.py:": "names of files and folders",
    "records/outgoing.py:": "forms of tokens and passwords, in any content",
    "records/remote.py:_below": "keys of objects, which are paths of files",
    "records/remote.py:_rank": "keys of objects, which are paths of files",
    "records/remote.py:children": "keys of objects, which are paths of files",
    "commands/distill.py:first_fault": "pydantic puts 'Value error, ' before what a validator says",
    "quality/doctor/tokens.py:_stated": "names of checkpoints that may be anybody's",
    "quality/doctor/tokens.py:_share_with": "a vocabulary's words",
    "quality/doctor/weights.py:": "names of weights",
    # Records that were made before warnings were facts hold them as sentences, and stay readable as long as a store does.
    "report/compare/notes.py:": "finds figures in sentences of older records, for the two functions below",
    "report/compare/notes.py:_in_one": "older records have their figures in sentences alone",
    "report/compare/notes.py:merged": "older records have their subjects in sentences alone",
}


def names_in(node):
    """Identifiers that an expression is made of."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def of_prose(node):
    """True if an expression is made of something that is called as prose is."""
    return any(name in PROSE for name in names_in(node))


def texts_in(node):
    """The constant texts of an expression."""
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def why_looking(node):
    """What makes a comparison one that parses prose, or None."""
    if not isinstance(node.ops[0], ast.In | ast.NotIn) or not of_prose(node.comparators[0]):
        return None
    is_text = isinstance(node.left, ast.JoinedStr) or bool(isinstance(node.left, ast.Constant) and texts_in(node.left))
    return "looks for words in prose" if is_text else None


def why_calling(node):
    """What makes a call one that parses prose, or None."""
    receiver, name = node.func.value, node.func.attr
    if isinstance(receiver, ast.Name) and receiver.id == "re" and name != "escape":
        return "uses a regular expression"
    if name not in TAKING_APART:
        return None
    composed = name not in {"find", "index"} and any(isinstance(argument, ast.JoinedStr) for argument in node.args)
    reasons = {
        "takes prose apart": of_prose(receiver),
        "cuts what a function has just written": name in CUTTING and isinstance(receiver, ast.Call),
        "looks for words that this program composes": composed,
        "takes apart what this program joins": any(
            joint in text for argument in node.args for text in texts_in(argument) for joint in JOINTS
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def why_parsing(node):
    """What makes a node one that parses prose, or None."""
    if isinstance(node, ast.Compare):
        return why_looking(node)
    return why_calling(node) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None


def offences(tree):
    """(function, line, why) of every place in a module that parses prose."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        why = why_parsing(node)
        if why is not None:
            around = [
                function for function in functions if function.lineno <= node.lineno <= (function.end_lineno or 0)
            ]
            yield (max(around, key=lambda function: function.lineno).name if around else "", node.lineno, why)


def all_offences():
    """By file and function the places of the whole package, exceptions included."""
    found = {}
    for package in PACKAGES:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            for function, line, why in offences(ast.parse(path.read_text(encoding="utf-8"))):
                key = f"{path.relative_to(PACKAGE).as_posix()}:{function}"
                found.setdefault(key, []).append(f"line {line} {why}")
    return found


def test_every_exception_is_needed():
    """An exception whose place has been mended, or has moved, leaves the list."""
    assert EXCEPTIONS.keys() - all_offences().keys() == set()


def test_no_prose_is_parsed():
    """No code of reports, gates, statistics, sessions, commands and records decides by words that this program wrote."""
    assert {key: lines for key, lines in all_offences().items() if key not in EXCEPTIONS} == {}


@pytest.mark.parametrize(
    "code",
    [
        're.compile(r"over (\\d+) rounds").search(text)',
        '(estimate.method or "").startswith(BY_SEEDS)',
        '"of logarithms" in (estimate.method or "")',
        '"MISSED" in (row.note or "")',
        '(row.run_ids or "").split()',
        'text.partition("; ratio: ")',
        'row.name.removeprefix(f"{row.model}: ")',
        'times(value).removesuffix("x")',
        'noise.shape.split("x")',
    ],
)
def test_parsing_is_seen(code):
    """Each way in which figures were once decided by words is found."""
    assert any(map(why_parsing, ast.walk(ast.parse(code))))


@pytest.mark.parametrize(
    "code",
    [
        'names.split(",")',
        '"bert" in models',
        'record.find("latency", f"{part}/round-median")',
        "warning in shared",
        'path.name.endswith(".json")',
    ],
)
def test_other_texts_may_be_read(code):
    """What users type, names of files and look-ups are no prose."""
    assert not any(map(why_parsing, ast.walk(ast.parse(code))))
