"""The README and the pages are true: every command they show exists with those options, every link and file name leads somewhere."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer

import bertbench
from bertbench.cli import app, main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LONGEST_README = 250
NEITHER_MEASURES_NOR_CHANGES = {"init", "list", "published", "recommend", "validate"}

# In a block of code: alone on a line, after `&&`, in a list of CI steps, or started with several processes. In prose: in backticks.
_START = r"(?:^ *(?:- )?|&& )(?:(?:torchrun|accelerate launch) [^\n]*-m )?"
IN_CODE = re.compile(_START + r"(bertbench [^#|\n&]+)", flags=re.MULTILINE)
IN_PROSE = re.compile(r"`(bertbench [^`…|]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PLACE = re.compile(r"`((?:bertbench|tests|configs|results|docs|\.github|\.ci)/[\w./-]*\w)`")


@cache
def text_of(page):
    """What stands on a page."""
    return page.read_text(encoding="utf-8")


def name_of(page):
    """What a page is called in the project."""
    return page.relative_to(ROOT).as_posix()


def commands_of(page):
    """Command lines shown on a page; a code block's other languages hold none."""
    blocks = re.findall(r"^ *```(?:sh|yaml)\n(.*?)^ *```", text_of(page), flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    shown = [line for block in blocks for line in IN_CODE.findall(block)] + IN_PROSE.findall(prose.replace("\n", " "))
    return [" ".join(line.split()) for line in shown]


def anchors_of(page):
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


COMMANDS = sorted({line for page in PAGES for line in commands_of(page)})
LINKS = sorted(
    {
        (name_of(page), link)
        for page in PAGES
        for link in LINK.findall(text_of(page))
        if "://" not in link  # others' pages are not ours to check
    }
)
PLACES = sorted({(name_of(page), place) for page in PAGES for place in PLACE.findall(text_of(page))})


@cache
def parsers():
    """The option parser of each command, as the command line uses it."""
    root = typer.main.get_command(app)
    context = typer.Context(root)
    return {name: root.get_command(context, name) for name in root.list_commands(context)}


@pytest.mark.parametrize("line", COMMANDS)
def test_shown_command_is_understood(line, tmp_path, monkeypatch):
    """Every command line that is shown names a command, and options that exist with values that they take.

    A file of options that it names is the one that the page on it shows.
    """
    (study,) = re.findall(
        r"^```yaml\n(command: .*?)^```", text_of(ROOT / "docs" / "comparing.md"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "study.yaml").write_text(study, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    name, *arguments = shlex.split(line)[1:]
    command = parsers().get(name)
    if command is None:  # an option of bertbench itself, or a placeholder
        assert name in {"COMMAND", "--help", "--version", "--install-completion"}
        return
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {argument.partition("=")[0] for argument in arguments if re.match("--?[a-z]", argument)}
    assert given <= known | {"--help"}
    is_whole = not any(parameter.required for parameter in command.params) or bool(arguments)
    if is_whole and "--help" not in arguments:
        command.make_context(name, arguments)


@pytest.mark.parametrize(
    "line", [line for line in COMMANDS if line.split()[1] in NEITHER_MEASURES_NOR_CHANGES and len(line.split()) > 2]
)
def test_shown_command_works(line, tmp_path, monkeypatch, capsys):
    """What measures nothing is run as it is shown, in an empty folder: it answers, or has nothing to answer from."""
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) in {0, 4}, capsys.readouterr().err


def test_commands_are_found_on_the_pages():
    """Code blocks, lists of CI steps, several processes and prose are all read."""
    assert {"run", "compare", "check", "baseline"} <= {line.split()[1] for line in commands_of(README)}
    assert "bertbench check --only size,quality --max-minutes 5 --junit gate.xml --output gate.md" in COMMANDS
    assert "bertbench run --task sst2 --models all --finetune --only quality" in COMMANDS
    assert len(COMMANDS) > 60


def test_every_command_is_documented():
    """Every command has help, stands in the README and on a page of its own."""
    pages = "\n".join(text_of(page) for page in PAGES if page.parent.name == "docs")
    for name, command in parsers().items():
        assert command.help
        assert f"bertbench {name}" in text_of(README)
        assert f"bertbench {name}" in pages


def test_every_option_has_help():
    """Every option of every command says what it does."""
    silent = [
        f"{name} {parameter.name}"
        for name, command in parsers().items()
        for parameter in command.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert silent == []


def test_file_tree_names_what_is_there():
    """Each module and package at the top stands in the tree of files, and no module that is not there."""
    tree = text_of(ROOT / "docs" / "architecture.md").partition("## Files")[2].partition("```\n\n")[0]
    present = {
        path.name
        for path in (ROOT / "bertbench").iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    } - {"__init__.py", "__main__.py"}
    named = set(re.findall(r"[a-z_]+\.py", tree)) | {folder.rstrip("/") for folder in re.findall(r"\b[a-z_]+/", tree)}
    assert present - named == set()
    assert {name for name in named if name.endswith(".py")} - present == set()


def test_exit_codes_are_documented():
    """The README names the exit codes, and a page says what they mean."""
    (line,) = re.findall(r"Exit codes: [^(]*", text_of(README))
    for code in (0, 1, 2, 3, 4, 130):
        assert re.search(rf"\b{code} ", line)
        assert f"| {code} |" in text_of(ROOT / "docs" / "output.md")


def test_readme_is_short():
    """A stranger reads it in one go; what is longer is a page of its own."""
    assert len(text_of(README).splitlines()) <= LONGEST_README


def test_readme_begins_with_results():
    """The first screen has a picture of the table, with words for those who cannot see it."""
    alternative, path = re.search(r"!\[([^\]]*)\]\(([^)]+)\)", "\n".join(text_of(README).splitlines()[:15])).groups()
    assert len(alternative) > 40
    picture = (ROOT / path).read_text(encoding="utf-8")
    assert "DistilBERT" in picture
    assert "Accuracy" in picture


def test_picture_asks_nothing_of_others():
    """The picture has no fonts, styles or images from elsewhere, and nothing that runs."""
    for path in (ROOT / "docs" / "pictures").iterdir():
        picture = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.search(r"https?:|@import|@font-face|<script|href|foreignObject", picture) is None


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_link_leads_somewhere(page, link):
    """A relative link names a file of the project, and a heading of it."""
    path, _, anchor = link.partition("#")
    target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    assert target.exists()
    assert not anchor or anchor in anchors_of(target)


def test_every_page_is_linked():
    """The list of pages and the README lead to each of them."""
    for start in (README, ROOT / "docs" / "README.md"):
        targets = {(start.parent / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(start))}
        assert {page.resolve() for page in PAGES} - targets - {start, README} == set()


@pytest.mark.parametrize(("page", "place"), PLACES)
def test_named_file_exists(page, place):
    """A file or folder of the project that a page names is there; what measuring leaves in results/ may not be."""
    top = place.partition("/")[0]
    if top == "results":
        return
    if not (ROOT / top).exists():
        pytest.skip(f"{top} is not in this copy of the project")
    assert (ROOT / place).exists(), f"{page} names {place}"


def test_modules_that_are_named_exist():
    """`name.py` is some file of the package or the tests, `bertbench.a.b` a module or something in the package itself."""
    files = [path for folder in ("bertbench", "tests") for path in (ROOT / folder).rglob("*.py")]
    known = {path.name for path in files}
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files} | {
        f"bertbench.{name}" for name in bertbench.__all__
    }
    for page in PAGES:
        assert set(re.findall(r"`([a-z_]+\.py)`", text_of(page))) - known == set()
        assert set(re.findall(r"\bbertbench(?:\.[a-z_]+)+\b", text_of(page))) - modules == set()
