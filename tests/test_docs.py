"""The site of pages: what is made from the code, its navigation, and the tutorial, which is run from its first line to its last."""

import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import bertbench
from bertbench import cli
from bertbench.report.row import HEADER
from bertbench.specs.catalog import spec_types
from bertbench.units import QUANTITIES
from tests.specs.test_packaged import EVERY_COUNT
from tests.test_readme import parsers

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
# Enough to see that a command of the tutorial works; its figures are not looked at.
QUICKLY = {
    "compare": [
        *("--only", "size,quality", "--train-samples", "96", "--eval-samples", "64", "--epochs", "1", "--threads", "1")
    ],
    "history": ["--quantity", "score"],
    "run": ["--only", "quality", "--seeds", "1", "--epochs", "1", "--threads", "1"],
    "baseline": ["--train-samples", "96", "--eval-samples", "64", "--epochs", "1"],
    "check": ["--max-minutes", "1"],
    "distill": ["--train-samples", "96", "--eval-samples", "64", "--epochs", "1", "--only", "size,quality"],
}


@cache
def hook():
    """The module that mkdocs calls."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / ".config" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def pages():
    """The generated pages."""
    return hook().pages()


@pytest.mark.parametrize("name", parsers())
def test_page_of_a_command_has_all_options(name):
    """Each command has a page with its help, its example and every option."""
    page = pages()[f"commands/{name}.md"]
    assert cli.COMMANDS[name].line in page
    assert f"```sh\nbertbench {name}" in page
    for parameter in parsers()[name].params:
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert option in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


def test_nothing_on_generated_pages_is_read_as_html():
    """What stands in angle brackets, as in `run:<id>`, is shown."""
    assert "run:&lt;id>" in pages()["commands/compare.md"]
    for text in pages().values():
        assert "<" not in re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def test_page_on_yaml_has_every_key():
    """Every key that a YAML can have stands on a page, with its type."""
    page = pages()["reference/yaml.md"]
    for kind, spec_type in spec_types().items():
        section = page.partition(f"## {kind}/\n")[2].partition("\n## ")[0]
        for key in spec_type.model_fields.keys() - {"name"}:
            assert f"| `{key}` | " in section
    assert "any value" not in page


def test_page_on_yaml_has_the_keys_of_run_files():
    """Every option that a file may set stands in a table with the commands that take it."""
    from bertbench.commands._run_file import ON_THE_COMMAND_LINE

    section = pages()["reference/yaml.md"].partition("## Run files\n")[2]
    assert "| `seeds` | run, compare, distill | text, or a list |  |" in section
    assert "| `train-samples` | run, compare, distill | whole number |  |" in section
    for name in ("run", "compare", "speed", "distill"):
        for parameter in parsers()[name].params:
            key = next(option[2:] for option in parameter.opts if option.startswith("--"))
            assert (f"| `{key}` | " in section) == (key != "file" and key.replace("-", "_") not in ON_THE_COMMAND_LINE)


def test_page_on_yaml_has_the_keys_of_policies():
    """The page has what a gate's policy holds, rules and waivers too."""
    section = pages()["reference/yaml.md"].partition("## Policies of the gate\n")[2]
    for key in ("critical", "advisory", "others", "waivers", "quantity", "margin", "reason", "expires"):
        assert f"| `{key}` | " in section


def test_page_on_columns_has_each():
    """Every column of the CSV and every quantity is explained, in the order of the header."""
    page = pages()["reference/columns.md"]
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == [*HEADER, *QUANTITIES]
    assert hook().COLUMNS.keys() == set(HEADER)


def test_every_page_is_in_the_navigation():
    """The site leads to every page in docs/."""
    settings = (ROOT / ".config" / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+\.md", settings.partition("\nnav:")[2]))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_files_outside_are_named_on_the_site():
    """A link out of docs/ becomes the file's name; other links stay."""
    shown = hook().on_page_markdown("[what lies where](../results/README.md#a), [speed](speed.md#b)")
    assert shown == "what lies where (`results/README.md`), [speed](speed.md#b)"


def test_page_of_models_has_each_with_its_count():
    """Every released model that is packaged stands on the page, with its counted parameters."""
    rows = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    stated = {row.split("`")[1]: row.split(" | ")[1] for row in rows if row.startswith("| `")}
    assert stated == {name: f"{count / 1e6:.1f}M" for name, count in EVERY_COUNT.items()}


def test_citation_is_of_this_version():
    """CITATION.cff and the changes name the version that there is."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == bertbench.__version__
    assert f"## {bertbench.__version__}" in (ROOT / "docs" / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_name_commands_that_exist(path):
    """Forms are YAML as GitHub wants it, and name commands that there are."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form.keys() >= {"name", "description", "body"}
    assert all(part["attributes"] for part in form["body"])
    named = set(re.findall(r"`bertbench (\w+)", path.read_text(encoding="utf-8")))
    assert named <= cli.COMMANDS.keys()


def test_site_is_built_without_warnings(tmp_path):
    """Mkdocs finds every page and every link, and the site asks nothing of other hosts."""
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--config-file", str(ROOT / ".config" / "mkdocs.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<(?:link|script|img)[^>]+(?:src|href)="https?://', home) is None
    assert (tmp_path / "commands" / "compare.html").exists()


def write(folder, block):
    """Write a YAML of the tutorial to the file that its first line names, if it names one."""
    name = re.match(r"# (configs/\S+)", block)
    if name:
        (folder / name[1]).write_text(block, encoding="utf-8")


def _save_checkpoint(folder):
    """Save a small encoder with random weights and the demo tasks' tokenizer."""
    from bertbench.models.demo_tokenizer import build_tokenizer
    from tests.models.architectures import config_for, save

    tokenizer = build_tokenizer()
    save(config_for("bert", max_position_embeddings=128), folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.slow
def test_tutorial_works(tmp_path, monkeypatch, capsys):
    """Its commands are run in their order, with its YAML, and each ends well; they measure less than they would."""
    monkeypatch.chdir(tmp_path)
    _save_checkpoint(tmp_path / "checkpoints" / "ours")
    (tmp_path / "data" / "tickets").mkdir(parents=True)
    kinds = {"billing": "I was charged twice", "outage": "the site is down", "other": "thank you for the help"}
    for split in ("train", "validation"):
        rows = [f"{text} {split} {number},{label}" for number in range(20) for label, text in kinds.items()]
        (tmp_path / "data" / "tickets" / f"{split}.csv").write_text("text,queue\n" + "\n".join(rows) + "\n")
    codes = {}
    for language, block in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
        if language == "yaml":
            write(tmp_path, block)
        for line in block.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            if words[0] == "bertbench":
                codes[line] = (cli.main([*words[1:], *QUICKLY.get(words[1], ())]), capsys.readouterr().err[-500:])
    allowed = {"recommend": {0, 1, 3}, "doctor": {0, 1}, "check": {0, 3}}
    bad = {line: got for line, got in codes.items() if got[0] not in allowed.get(line.split()[1], {0})}
    assert bad == {}
    assert len(codes) > 15
