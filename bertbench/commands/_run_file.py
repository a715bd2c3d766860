"""Run files: the options of one command as YAML, read before the command line, or written of what is stored.

A key is an option's long name without its dashes. The options themselves type it: what the command line would not take, a file
does not hold. A relative path is relative to the file's folder, so that a study can be shared as a folder.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.models import OptionInfo

from bertbench.errors import BertBenchError, ConfigError, UsageError, without_credentials
from bertbench.safe_text import visible
from bertbench.specs import name_lists, text_files

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession

TAKERS = ("run", "compare", "speed", "distill")  # commands that take a file
FILE, COMMAND, CODE = "file", "command", "allow-metric"
HINT = "`bertbench show RUN --as-file` writes one that is right"
# By their names in Python: texts that may be lists of names or of numbers, models, which may be folders, and other places.
LISTS_OF_NAMES = frozenset({"models", "task", "only", "backends", "dtypes", "scenario"})
SEEDS = frozenset({"seeds", "init_seeds", "data_seeds"})
LISTS_OF_NUMBERS = SEEDS | frozenset({"batch_sizes", "sequence_lengths"})
NUMBERS = LISTS_OF_NUMBERS | {"precision"}
MODELS = frozenset({"models", "reference", "teacher", "student"})
# Of this machine, this moment or the reader's taste: read from a file, never written to one, but for what is needed.
NOT_SHARED = frozenset({
    "results_dir", "config_dir", "output", "plots", "output_format", "layout", "details", "quiet", "verbose", "yes", "executor",
    "ray_address", "shard", "fresh", "from_store", "dry_run", "predict_test", "save_to", "allow_metric",
})  # fmt: skip
# A file may be a stranger's: where things are written, on whose machines they are done and whose code runs is said on the command line alone.
ON_THE_COMMAND_LINE = frozenset(
    {"results_dir", "output", "plots", "predict_test", "executor", "ray_address", "track", "allow_metric"}
)
_is_never = frozenset[str]().__contains__  # no name that holds a comma is known to a file
LOCAL = (".", "/", "~")  # how the name of a folder begins


def keys_of(parameters: Sequence[Parameter]) -> dict[str, Parameter]:
    """Return the options that a file may set, by key."""
    named = ((_key(parameter), parameter) for parameter in parameters if parameter.name != FILE)
    return {key: parameter for key, parameter in named if key is not None}


def _key(parameter: Parameter) -> str | None:
    """Return the long name of an option without its dashes; None of an argument."""
    info = next((part for part in get_args(parameter.annotation)[1:] if isinstance(part, OptionInfo)), None)
    names = [name.split("/")[0] for name in declared(info)] if info else []
    return next((name[2:] for name in names if name[:2] == "--"), None)


def declared(info: OptionInfo) -> list[str]:
    """List the names of an option; within Annotated Typer has the first one where a default would be."""
    return [*([info.default] if isinstance(info.default, str) else []), *(info.param_decls or ())]


# Reading.


def read(path: Path, command: str, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Read a command's file: by the option's name in Python what the option parser takes; what is None is left out.

    Raises:
        ConfigError: it cannot be read, is for another command, or a key or value is wrong; the message names file and key.
    """
    from pydantic import ValidationError  # here and below: slow for a help text

    from bertbench.specs.yaml_files import describe, read_yaml

    if not os.path.lexists(path):
        raise ConfigError(f"{path}: cannot be read (no such file)", HINT)
    options = keys_of(parameters)
    written = {COMMAND: None} | read_yaml(path, "")
    if not written["name"]:
        del written["name"]  # which only configs have
    _check_command(path, written.pop(COMMAND), command)
    for key in written.keys() & {key for key, each in options.items() if each.name in ON_THE_COMMAND_LINE}:
        raise ConfigError(
            f"{path}: key '{key}': no file says {'whose code runs' if key == CODE else 'where to write and whom to connect to'}",
            f"give --{key} on the command line",
        )
    for key in written.keys() - options.keys():
        close = difflib.get_close_matches(key.replace("_", "-"), options, n=1)
        guess = f"did you mean '{close[0]}'?" if close else f"`bertbench {command} --help` lists the options"
        raise ConfigError(f"{path}: key '{key:.60}' is no option of `bertbench {command}`", guess)
    try:
        checked = type_of(options, path.parent)(**written)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error, path)}", HINT) from None
    values: dict[str, Any] = checked.model_dump(mode="json", exclude_none=True)
    return values


def _check_command(path: Path, written: Any, command: str) -> None:
    """Check that a file is for this command.

    Raises:
        ConfigError: it is not.
    """
    if written is None:
        raise ConfigError(f"{path}: key 'command' is missing", f"write `command: {command}`")
    if written not in TAKERS:
        raise ConfigError(f"{path}: key 'command': {written!r:.60} is not one of {', '.join(TAKERS)}")
    if written != command:
        raise ConfigError(
            f"{path}: key 'command': the file is for `bertbench {written}`", f"`bertbench {written} --file` takes it"
        )


def type_of(options: Mapping[str, Parameter], folder: Path) -> Any:
    """Make the type that a file is checked as: each option's own type, or None, which leaves it to its default."""
    from pydantic import BeforeValidator, ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    for key, parameter in options.items():
        kind = get_args(parameter.annotation)[0]
        check = BeforeValidator(partial(_as_option, parameter.name, kind, folder))
        fields[parameter.name] = (Annotated[kind | None, check], Field(None, alias=key))
    return create_model("RunFile", __config__=ConfigDict(extra="forbid", frozen=True), **fields)


def _as_option(name: str, kind: Any, folder: Path, value: Any) -> Any:
    """Turn what YAML gives into what the option takes: a list into text with commas, a number into text, a path into one from here.

    Raises:
        ValueError: it takes neither.
    """
    kinds = {kind, *get_args(kind)}
    if value is None or isinstance(value, bool) or bool in kinds:
        if value is not None and isinstance(value, bool) != (bool in kinds):
            raise ValueError("expected true or false" if bool in kinds else "true and false are for other options")
        return value
    if name == "save_to" and isinstance(value, str) and not text_files.is_new_inside(value, folder):
        raise ValueError(
            "must be a new folder beside this file; leave it out, and give any other with --save-to on the command line"
        )
    if list[Path] in kinds:
        return [_path(entry, folder) for entry in (value if isinstance(value, list) else [value])]
    if Path in kinds:
        return _path(value, folder)
    if list[str] in kinds and not isinstance(value, list):
        value = [value]
    if isinstance(value, list) and list[str] not in kinds:
        return _joined(name, value, folder)
    if str not in kinds or not isinstance(value, str):
        return str(value) if name in NUMBERS and isinstance(value, int | float) else value
    return _text(name, value, folder)


def _joined(name: str, entries: list[Any], folder: Path) -> str:
    """Join a list to the text that the option takes.

    Raises:
        ValueError: the option takes one value, or an entry is of another type.
    """
    if name not in LISTS_OF_NAMES | LISTS_OF_NUMBERS:
        raise ValueError("expected one value, not a list")
    if not entries:
        raise ValueError("the list is empty: leave the key out")
    if name in SEEDS and len(entries) == 1:
        key = name.replace("_", "-")
        raise ValueError(f"a list of one would be read as a count: write '{key}: 1', and its number as 'seed'")
    kind, wanted = (
        (int, "whole numbers") if name in LISTS_OF_NUMBERS else (str, "names; quote what YAML takes for others")
    )
    if any(type(entry) is not kind for entry in entries):
        raise ValueError(f"expected a list of {wanted}")
    return name_lists.joined(_one_model(entry, folder) if name in MODELS else str(entry) for entry in entries)


def _text(name: str, text: str, folder: Path) -> str:
    """Write paths in a text as seen from here; a text that holds none stays as it is."""
    if name == "models":
        names = name_lists.split("models", text, _is_never, _is_never)
        return text if _is_here(folder) else name_lists.joined(_one_model(entry, folder) for entry in names)
    if name in MODELS:
        return _one_model(text, folder)
    return _texts(text, folder) if name == "text" else text


def _texts(text: str, folder: Path) -> str:
    """Write files of text, or a data set of the hub, as seen from here.

    Raises:
        ValueError: it is not beside the file, and of the same name here, where another would be read.
    """
    if _is_here(folder):
        return text
    if text.startswith(LOCAL) or text_files.is_there(folder / text):
        return str(_path(text, folder))
    if text_files.is_there(Path(text)):
        raise ValueError(
            f"is not beside this file, and one in the current folder would be read: write ./{text} if that beside the file is meant"
        )
    is_of_hub = text.count("/") == 1
    return text if is_of_hub else str(_path(text, folder))


def _is_here(folder: Path) -> bool:
    return folder.resolve() == Path.cwd()


def _path(value: Any, folder: Path) -> Any:
    """Write a path that is relative to a folder as seen from here."""
    if not isinstance(value, str) or _is_here(folder) or value.startswith("~") or Path(value).is_absolute():
        return value
    return os.path.relpath(folder / value)


def _one_model(text: str, folder: Path) -> str:
    """Write the name of a model, which may be a folder, as seen from here.

    Raises:
        ValueError: it is no path and yet a folder, of which the command line would take the one here.
    """
    if _is_here(folder):
        return text
    if text.startswith(LOCAL):
        path = str(_path(text, folder))
        return path if path.startswith(LOCAL) else f"./{path}"
    if any(text_files.is_there(start / text) and (start / text).is_dir() for start in (folder, Path())):
        from bertbench.specs.catalog import Catalog

        if text not in Catalog().entries("models"):
            raise ValueError(f"a folder is called so: write ./{text} if the one beside this file is meant")
    return text


def explained(error: BertBenchError, path: Path) -> BertBenchError:
    """Add the file to an error about an option's value; other errors are what they are without it."""
    if not isinstance(error, UsageError | ConfigError):
        return error
    return ConfigError(f"with {path}: {error.message}", error.hint)


# Writing.


def words(command: str, parameters: Sequence[Parameter], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Write options that differ from their defaults as a command line, which says all that the file said."""
    line = [command]
    for key, parameter in keys_of(parameters).items():
        value = values.get(parameter.name, parameter.default)
        if value is None or value == parameter.default:
            continue
        for entry in value if isinstance(value, list | tuple) else (value,):
            line += [f"--{key}"] if entry is True else [f"--{key}", _word(entry)]
    return tuple(line)


def _word(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def as_text(stored: StoredSession) -> str:
    """Write the file that repeats a session: what was chosen, without what belongs to a machine; comments say what a reader lacks.

    Raises:
        UsageError: no command that takes a file has measured it.
    """
    from bertbench.session.options import ANYTIME
    from bertbench.specs.yaml_files import to_yaml

    session = stored.session
    parameters, chosen = _chosen(session.argv, session.session_id)
    command = session.argv[0]
    values = {name: value for name, value in chosen.items() if name not in NOT_SHARED} | _needed(stored, chosen)
    if command in ANYTIME and chosen.keys() & {"shard", "executor"}:  # which measure without a limit, and in one format
        values = {"max_minutes": 0.0, "dtype": "fp32"} | values
    if "executor" in chosen:
        values = _of_executor(session.request) | values
    content = {COMMAND: command} | {
        key: _as_yaml(parameter.name, values[parameter.name])
        for key, parameter in keys_of(parameters).items()
        if parameter.name in values
    }
    lines = [f"Repeats session {session.session_id}: bertbench {command} --file FILE", *_remarks(values)]
    if allowed := ",".join(chosen.get("allow_metric", ())):
        lines.append(f"Needs --{CODE} {allowed} on the command line: no file says whose code runs")
    return "".join(f"# {visible(line)}\n" for line in lines) + to_yaml(content)


def _chosen(argv: Sequence[str], session_id: str) -> tuple[list[Parameter], dict[str, Any]]:
    """Read a command line again: the command's options, and by its name in Python the value of each that is not the default.

    Raises:
        UsageError: it is none of a command that takes a file, or this version has other options.
    """
    if not argv or argv[0] not in TAKERS:
        how = f"`bertbench {argv[0]}`" if argv else "a program or a notebook"
        raise UsageError(
            f"session {session_id}: measured by {how}; files are for {', '.join(TAKERS)}",
            "write a file of its models and tasks, which `bertbench diff` and `bertbench show` name",
        )
    if any(word.partition("=")[0] == f"--{FILE}" for word in argv):  # none is recorded: this one is somebody else's
        raise UsageError(f"session {session_id}: its command line names a file, which is not read")
    function = getattr(importlib.import_module(f"bertbench.commands.{argv[0]}"), argv[0])
    parameters = list(inspect.signature(function).parameters.values())
    command = typer.Typer(add_completion=False)
    command.command()(function)
    try:
        context = typer.main.get_command(command).make_context(argv[0], list(argv[1:]), help_option_names=[])
    except Exception as error:
        if not hasattr(error, "format_message"):  # usage errors have no common class in all versions
            raise
        reason = error.format_message()
        raise UsageError(f"session {session_id}: its command line is of another version: {reason}") from None
    usual = {parameter.name: parameter.default for parameter in parameters}
    given = {name: value for name, value in context.params.items() if name != FILE and value not in (None, ())}
    return parameters, {name: value for name, value in given.items() if value != usual.get(name)}


def _of_executor(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an executor has set and no command line says; threads only of quality: what is timed takes the machine's."""
    names = ("device", "threads") if request.get("kinds") == ["quality"] else ("device",)
    had = request.get("options") or {}
    return {name: had[name] for name in names if had.get(name)}


def _needed(stored: StoredSession, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what is not shared as a rule, and without which the file would not do."""
    from bertbench.session.request import MANY_RUNS

    session = stored.session
    runs = sum(record.kind == "quality" for record in stored.records)
    texts = [str(chosen[key]) for key in ("task", "paper", "recipes") if key in chosen]
    named = {name for text in texts for name in name_lists.split("", text, _is_never, _is_never)}
    names = {
        "models": session.models, "recipes": {*session.models, *named}, "tasks": session.tasks, "suites": (session.suite,),
        "groups": named, "papers": named,
    }  # fmt: skip
    files = [f"{kind}/{name}.y*ml" for kind, of_kind in names.items() for name in of_kind if Path(name).name == name]
    files += ["claims/*.y*ml"] + ["published/*.csv"] * bool(chosen.get("with_published"))  # reports take all claims
    folders = [folder for folder in chosen.get("config_dir", ()) if _holds(Path(folder), files)]
    target = Path(chosen.get("save_to", ".."))
    is_beside = not target.is_absolute() and ".." not in target.parts and not str(target).startswith("~")
    needed = {"yes": runs > MANY_RUNS, "config_dir": folders, "save_to": "text" in chosen and is_beside and str(target)}
    return {name: value for name, value in needed.items() if name in chosen and value}


def _holds(folder: Path, files: Sequence[str]) -> bool:
    """Tell whether a folder of configs has one of the session's, or is gone, so that nobody knows."""
    return not folder.is_dir() or any(any(folder.glob(pattern)) for pattern in files)


def _as_yaml(name: str, value: Any) -> Any:
    """Turn an option's value into what people would write in YAML."""
    if isinstance(value, list | tuple):
        return [_as_yaml(name, entry) for entry in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, bool | int):
        return value
    text = without_credentials(_word(value))
    if name in LISTS_OF_NUMBERS and all(part.strip().isdecimal() for part in text.split(",")):
        numbers = [int(part) for part in text.split(",")]
        return numbers if len(numbers) > 1 else numbers[0]
    names = name_lists.split(name, text, _is_never, _is_never) if name in LISTS_OF_NAMES else []
    return names if len(names) > 1 else text


def _remarks(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reader of the file must know or have: paths, checkpoints and configs of one's own."""
    from bertbench.specs.catalog import packaged_folder

    lists = {
        name: name_lists.split(name, str(values[name]), _is_never, _is_never) for name in LISTS_OF_NAMES & values.keys()
    }
    models = [*lists.get("models", ()), *(str(values[name]) for name in sorted(MODELS - {"models"}) if name in values)]
    paths = [str(values[name]) for name in ("data_dir", "text", "save_to") if name in values]
    paths += [*map(str, values.get("config_dir", ())), *(model for model in models if model.startswith(LOCAL))]
    if paths:
        yield f"Lies where bertbench was called: relative paths are relative to this file. Share what they name: {', '.join(paths)}"
    if "text" in values and "save_to" not in values:
        yield "Needs --save-to FOLDER on the command line: no file says where to write"
    if far := [path for path in paths if path.startswith("~") or Path(path).is_absolute()]:
        yield f"Nobody else may have {', '.join(far)}"
    if runs := [model for model in models if model.startswith("run:")]:
        yield f"Needs checkpoints of the results folder: {', '.join(runs)}"
    named = {"model": (models, ("models",)), "task": (lists.get("task", []), ("tasks", "groups"))}
    named["suite"] = ([values["suite"]] if "suite" in values else [], ("suites",))
    for kind, (names, folders) in named.items():
        known = {"all", *(path.stem for folder in folders for path in (packaged_folder() / folder).glob("*.y*ml"))}
        if own := [name for name in names if name not in known and Path(name).name == name and ":" not in name]:
            yield f"Needs configs, or folders, that bertbench does not bring along: {kind} {', '.join(own)}"
