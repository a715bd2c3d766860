"""A hook of mkdocs: makes the pages on commands, YAML files and columns from the code, so that they cannot be out of date.

Not aware of the theme: every page is Markdown. `tests/test_docs.py` tests them without mkdocs.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bertbench import cli, units  # noqa: E402 (the checkout's own, whatever is installed)
from bertbench.commands import _run_file  # noqa: E402
from bertbench.commands._options import OPTION_GROUPS  # noqa: E402
from bertbench.gate.policy import GatePolicySpec  # noqa: E402
from bertbench.report.row import HEADER  # noqa: E402
from bertbench.specs.catalog import spec_types  # noqa: E402

COLUMNS = {
    "suite": "suite that was measured",
    "model": "model, as it was named",
    "checkpoint": "where its weights are from",
    "revision": "commit of the hub",
    "weights": "pretrained, fine-tuned or random",
    "task": "task that the figure is of",
    "split": "split that was scored",
    "quantity": "what was measured, see below",
    "statistic": "which statistic of it: median, p90, mean, unique, executed, …",
    "unit": "base unit of `value`",
    "value": "the figure, in full precision",
    "text": "what stands there where there is no number",
    "low": "lower end of the 95 % interval",
    "high": "upper end of it",
    "interval_method": "how the intervals came about",
    "n": "how much the figure rests on",
    "n_unit": "what `n` counts: rounds, passes, examples, seeds, …",
    "reference": "model that the ratio refers to",
    "ratio": "`value` divided by the reference's",
    "ratio_low": "lower end of the ratio's interval",
    "ratio_high": "upper end of it",
    "published": "what was published, with its source",
    "verdict": "verdict on the claim that the figure settles",
    "device": "cpu, cuda:0, mps",
    "backend": "back-end that ran the model",
    "dtype": "number format",
    "batch_size": "inputs of a pass",
    "sequence_length": "tokens of an input; empty: natural lengths",
    "scenario": "fixed, natural, offline, …",
    "threads": "CPU threads",
    "session_id": "session that measured it; `bertbench show` has more",
    "status": "ok, skipped, failed, undefined",
    "note": "what a reader must know beside the figure",
    "run_ids": "runs that the figure was computed from, separated by blanks",
    "interval_scope": "whether an interval is of this checkpoint, these checkpoints or the method",
}
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def pages() -> dict[str, str]:
    """Make every generated page: its path below docs/, and its Markdown."""
    root = typer.main.get_command(cli.app)
    context = typer.Context(root, info_name="bertbench")
    made = {
        f"commands/{name}.md": _command(root.get_command(context, name), name, context)
        for name in root.list_commands(context)
    }
    return {"commands/README.md": _commands(), **made, "reference/yaml.md": _yaml(), "reference/columns.md": _columns()}


def _commands() -> str:
    lines = ["# Commands", ""]
    for group in dict.fromkeys(entry.group for entry in cli.COMMANDS.values() if entry.group != cli.OLD):
        lines += [f"## {group}", "", "| command | what it does |", "|---|---|"]
        of_group = {name: entry for name, entry in cli.COMMANDS.items() if entry.group == group}
        lines += [f"| [`bertbench {name}`]({name}.md) | {_cell(entry.line)} |" for name, entry in of_group.items()]
        lines.append("")
    return "\n".join(lines)


def _command(command: Any, name: str, root: Any) -> str:
    """Make the page of a command: what its help says, its options by group as tables."""
    context = typer.Context(command, info_name=name, parent=root)
    paragraphs = re.sub(r"\s*^(Example: )(.*)", r"\n\n```sh\n\2\n```", _prose(command.help), flags=re.MULTILINE)
    lines = [f"# bertbench {name}", "", paragraphs, "", "```text", _usage(command, context), "```", ""]
    for title, options in _groups(command).items():
        lines += [f"## {title}", "", "| option | meaning |", "|---|---|"]
        records = [parameter.get_help_record(context) for parameter in options]
        lines += [f"| `{_cell(names)}` | {_prose(_cell(meaning))} |" for names, meaning in filter(None, records)]
        lines.append("")
    return "\n".join(lines)


def _usage(command: Any, context: Any) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _groups(command: Any) -> dict[str, list[Any]]:
    """Sort the parameters as the help does: arguments, then the options group by group; few are one group."""
    of_name = getattr(command.callback, "option_groups", {})
    groups: dict[str, list[Any]] = {"Arguments": [], **{group: [] for group in OPTION_GROUPS}}
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        groups[of_name.get(parameter.name, OPTION_GROUPS[-1]) if is_option else "Arguments"].append(parameter)
    options = [parameter for group in OPTION_GROUPS for parameter in groups[group]]
    if len(options) < cli.MANY_OPTIONS:
        groups = {"Arguments": groups["Arguments"], "Options": options}
    return {title: of_title for title, of_title in groups.items() if of_title}


def _yaml() -> str:
    """Make the page on YAML files: of each kind its keys with types and defaults, from the specs that check them."""
    lines = [
        "# YAML files",
        "",
        "A file's stem is its name. It lies in `./configs/<kind>/`, or in a folder given with `--config-dir`.",
        "`bertbench init` writes an example, `bertbench validate` checks all.",
        "",
    ]
    shown: set[str] = set()
    for kind, spec_type in spec_types().items():
        lines += [f"## {kind}/", "", *_spec(spec_type, shown, skip=("name",))]
    lines += ["## Policies of the gate", "", *_spec(GatePolicySpec, shown, skip=("name",))]
    return "\n".join([*lines, *_run_files()])


def _run_files() -> list[str]:
    """Make the section on run files: the options that each command takes from one, with their types and defaults."""
    lines = [
        "## Run files",
        "",
        "What `--file` takes. `command` says which command it is for; all else may be left out.",
        "",
    ]
    lines += ["| key | commands | type | default |", "|---|---|---|---|", "| `command` | | text | required |"]
    keys: dict[str, tuple[Any, str, list[str]]] = {}
    for command in _run_file.TAKERS:
        options = _run_file.keys_of(list(inspect.signature(cli.function_of(command)).parameters.values()))
        schema = _run_file.type_of(options, Path()).model_json_schema()
        for key, parameter in options.items():
            if parameter.name in _run_file.ON_THE_COMMAND_LINE:
                continue
            keys.setdefault(key, (parameter, _type_in(schema, key), []))[2].append(command)
    for key, (parameter, words, commands) in keys.items():
        is_list = parameter.name in _run_file.LISTS_OF_NAMES | _run_file.LISTS_OF_NUMBERS
        taken = f"{words}, or a list" if is_list else words
        default = "" if parameter.default is inspect.Parameter.empty else _default(parameter.default)
        lines.append(f"| `{key}` | {', '.join(commands)} | {_cell(taken)} | {_cell(default)} |")
    return [*lines, ""]


def _type_in(schema: dict[str, Any], key: str) -> str:
    """Write the type of a key in words, choices included."""
    value = schema["properties"][key]
    parts = [each for each in value.get("anyOf", [value]) if each.get("type") != "null"]
    return " or ".join(
        _type(schema["$defs"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each) for each in parts
    )


def _spec(spec_type: Any, shown: set[str], skip: tuple[str, ...] = ()) -> list[str]:
    """Make the table of a spec's keys; below it those of the specs that its keys hold, each once."""
    schema = spec_type.model_json_schema()
    lines = [_docstring(spec_type), "", "| key | type | default |", "|---|---|---|"]
    for key, value in schema["properties"].items():
        if key not in skip:
            default = "required" if key in schema.get("required", ()) else _default(value.get("default"))
            lines.append(f"| `{key}` | {_cell(_type(value))} | {_cell(default)} |")
    lines.append("")
    within = {field.annotation for field in spec_type.model_fields.values()}
    for other in sorted(_specs_in(within), key=lambda each: each.__name__):
        if other.__name__ not in shown:
            shown.add(other.__name__)
            lines += [f"### {_words(other.__name__)}", "", *_spec(other, shown)]
    return lines


def _specs_in(annotations: set[Any]) -> set[Any]:
    """Find the specs in types, however deep in unions and containers."""
    specs = {each for each in annotations if inspect.isclass(each) and hasattr(each, "model_fields")}
    for annotation in annotations - specs:
        specs |= _specs_in(set(getattr(annotation, "__args__", ())) - {...} if _has_parts(annotation) else set())
    return specs


def _has_parts(annotation: Any) -> bool:
    parts = getattr(annotation, "__args__", ())
    return not any(isinstance(part, str) for part in parts)  # the values of a Literal are no types


def _type(schema: dict[str, Any]) -> str:
    """Write a type in words: 'number above 0', 'list of text', 'one of fp32, bf16'."""
    if "$ref" in schema:
        return _words(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        item = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of: {_type(item)}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"mapping to: {_type(values)}" if isinstance(values, dict) else "mapping"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {schema[key]:g}" for key, word in bounds.items() if key in schema]
    return " ".join([names.get(schema.get("type", ""), "any value"), ", ".join(limits)]).strip()


def _default(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(f"`{each}`" for each in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str | int | float) else "see below"


def _words(name: str) -> str:
    """Write a spec's name in words: 'TrainingSpec' is 'training'."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name.removesuffix("Spec")).lower()


def _docstring(of: Any) -> str:
    return _prose(inspect.cleandoc(of.__doc__))


def _columns() -> str:
    """Make the page on what CSV and JSON hold: columns, quantities and their units."""
    lines = [
        "# Columns and quantities",
        "",
        "The columns of CSV in its long layout, and the keys of a row in JSON, in this order. Absent is empty, or null.",
        "",
        "| column | meaning |",
        "|---|---|",
        *(f"| `{name}` | {COLUMNS[name]} |" for name in HEADER),
        "",
        "## Quantities",
        "",
        "`value` is in base units.",
        "",
        "| quantity | meaning | unit | better |",
        "|---|---|---|---|",
    ]
    better = {True: "higher", False: "lower", None: ""}
    lines += [
        f"| `{name}` | {quantity.title} | {quantity.unit} | {better[quantity.higher_is_better]} |"
        for name, quantity in units.QUANTITIES.items()
    ]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> str:
    """Write text so that what stands in angle brackets is read as text, not as HTML; code is safe as it is."""
    parts = text.split("`")
    return "`".join(part.replace("<", "&lt;") if place % 2 == 0 else part for place, part in enumerate(parts))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# What mkdocs calls.


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation, as part of its reference."""
    reference = next(entry["Reference"] for entry in config.nav if isinstance(entry, dict) and "Reference" in entry)
    commands = [
        "commands/README.md",
        *({name: f"commands/{name}.md"} for name, entry in cli.COMMANDS.items() if entry.group != cli.OLD),
    ]
    reference += [
        {"Commands": commands},
        {"YAML files": "reference/yaml.md"},
        {"Columns and quantities": "reference/columns.md"},
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name files outside of docs/ instead of linking them: they are no part of the site."""
    return OUTSIDE.sub(lambda link: f"{link[1]} (`{link[2].partition('#')[0]}`)", markdown)
