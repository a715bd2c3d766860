"""Run files: read before the command line, which wins; written of what is stored; a study that is run again is not measured again."""

import inspect
import sys
from pathlib import Path

import pytest
import yaml

from bertbench import cli
from bertbench.commands._run_file import NOT_SHARED, TAKERS, as_text, keys_of, read
from bertbench.errors import UsageError
from bertbench.records.store import Store
from bertbench.session.study import Study
from tests import factories
from tests.test_readme import parsers


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to call bertbench in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def requests(monkeypatch):
    """What commands ask for; nothing is measured."""
    asked = []

    class EnoughError(Exception):
        """Ends the command."""

    def measure_or_read(_, request):
        asked.append(request)
        raise EnoughError

    monkeypatch.setattr(Study, "measure_or_read", measure_or_read)

    def request(*words):
        monkeypatch.setattr(sys, "argv", ["bertbench", *words])
        with pytest.raises(EnoughError):
            cli.main(list(words))
        return asked[-1]

    return request


def canonical(request):
    """What decides the figures of a request."""
    return request.canonical(
        {spec.name: "w" for spec in request.models}, {task.name: "d" for task in request.tasks}, "here"
    )


def write(text, name="study.yaml"):
    """A file in the folder."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def stored(tmp_path, argv, **session):
    """A session that this command line has measured."""
    factories.stored_session(tmp_path / "kept", session=factories.session_record(argv=tuple(argv), **session))
    return next(Store(tmp_path / "kept").sessions())


STUDIES = [
    "run --task demo-sentiment --models bert-mini,distilbert-mini --seeds 3 --finetune --learning-rate 2e-5 --epochs 1",
    "run -t demo-sentiment,demo-entities -m bert-mini --seeds 4,2 --only size,quality --max-minutes 3 --device cpu",
    "run --task demo-sentiment --models bert-mini --executor local --results-dir elsewhere --quiet --yes",
    "compare --suite demo --eval-samples 64 --reference bert-mini --dtype fp32 --keep-checkpoints none --with-published",
    "compare",
    "speed --models bert-mini,albert-mini --batch-sizes 1,8 --sequence-lengths 16 --precision 2% --scenario fixed",
    "distill --teacher bert-mini --task demo-sentiment --share all --student-layers 1 --alpha-soft 0.25 --only size,quality",
    "speed --models bert-mini --rounds 3 --threads 1 --task demo-sentiment --scenario natural,single-stream",
]


@pytest.mark.parametrize("line", STUDIES)
def test_a_study_is_one_file(here, requests, line):
    """What a file repeats is the same request as that of the command line, and so is what the repetition's record says."""
    words = line.split()
    first = requests(*words)
    text = as_text(stored(here, first.argv))
    again = requests(words[0], "--file", write(text))
    third = requests(*again.argv)
    whole = {name: value for name, value in canonical(first).items() if name != "part"}
    assert canonical(again) == canonical(third) == whole
    assert (again.options.max_minutes, again.options.keep_checkpoints) == (
        first.options.max_minutes,
        first.options.keep_checkpoints,
    )
    assert not {key.replace("-", "_") for key in yaml.safe_load(text)} & NOT_SHARED


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("executor", "ray"), ("ray-address", "127.0.0.1:9"), ("output", "../table.md"), ("results-dir", "s3://theirs/x"),
        ("plots", "plots"), ("predict-test", "predictions"), ("track", "wandb"),
    ],
)  # fmt: skip
def test_a_strangers_file_says_nothing_of_where(here, key, value, capsys):
    """Whom to connect to and what to write is said on the command line alone."""
    (here / "study.yaml").write_text(f"command: run\ntask: demo-sentiment\n{key}: {value}\n", encoding="utf-8")
    assert cli.main(["run", "--file", "study.yaml"]) == 2
    error = capsys.readouterr().err
    assert f"study.yaml: key '{key}': no file says where to write and whom to connect to" in error
    assert f"Give --{key} on the command line" in error


def test_a_strangers_file_allows_no_code(here, capsys):
    """Whose code runs is said on the command line alone."""
    (here / "study.yaml").write_text("command: run\ntask: demo-sentiment\nallow-metric: [theirs]\n", encoding="utf-8")
    assert cli.main(["run", "--file", "study.yaml"]) == 2
    error = capsys.readouterr().err
    assert "study.yaml: key 'allow-metric': no file says whose code runs" in error
    assert "Give --allow-metric on the command line" in error


@pytest.mark.parametrize("place", ["../theirs", "/theirs", "there", "~/theirs", "circle/new"])
def test_a_student_is_saved_beside_the_file(here, place, capsys):
    """save-to is a new folder there; what is there already, or lies elsewhere, is refused."""
    (here / "there").mkdir()
    (here / "circle").symlink_to("circle")
    content = f"command: distill\nteacher: bert-mini\ntext: x.txt\nsave-to: {place}\n"
    (here / "study.yaml").write_text(content, encoding="utf-8")
    assert cli.main(["distill", "--file", "study.yaml"]) == 2
    assert "must be a new folder beside this file" in capsys.readouterr().err


def test_text_is_that_beside_the_file(here, requests, capsys):
    """Of files of one name that beside the study is read; one that is only in the current folder is refused; a long name is none."""
    (here / "sub").mkdir()
    (here / "corpus.txt").write_text("other words", encoding="utf-8")
    study = here / "sub" / "study.yaml"
    study.write_text("command: distill\nteacher: bert-mini\ntask: demo-sentiment\ntext: corpus.txt\n", encoding="utf-8")
    assert cli.main(["distill", "--file", "sub/study.yaml"]) == 2
    assert "is not beside this file, and one in the current folder would be read" in capsys.readouterr().err
    options = list(inspect.signature(cli.function_of("distill")).parameters.values())
    for text, meant in (("none.txt", str(Path("sub/none.txt"))), ("owner/name:subset", "owner/name:subset")):
        study.write_text(f"command: distill\ntext: {text}\n", encoding="utf-8")
        assert read(study, "distill", options)["text"] == meant
    study.write_text(f"command: distill\nteacher: bert-mini\ntext: {'x' * 3000}\n", encoding="utf-8")
    assert cli.main(["distill", "--file", "sub/study.yaml"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "argv"),
    [
        ("groups/mine.yaml", ("run", "--task", "mine")),
        ("papers/mine.yaml", ("speed", "--paper", "mine")),
        ("published/x.csv", ("compare", "--with-published")),
        ("groups/mine.yaml", ("run", "--task", "demo-sentiment, mine")),
        ("recipes/mine.yaml", ("run", "--task", "demo-sentiment", "--recipe", "mine")),
        ("claims/mine.yaml", ("compare",)),
    ],
)
def test_configs_of_a_study_are_named(here, place, argv):
    """A folder stands in the file if a group of tasks, a paper, a recipe, claims or published figures of the study are from it."""
    (here / "mine" / place).parent.mkdir(parents=True)
    (here / "mine" / place).touch()
    content = yaml.safe_load(as_text(stored(here, [*argv, "--config-dir", "mine"])))
    assert content["config-dir"] == ["mine"]


@pytest.mark.parametrize(
    ("kinds", "written"),
    [(["quality"], {"device": "cuda", "threads": 4}), (["size", "speed", "quality"], {"device": "cuda"})],
)
def test_what_an_executor_sets_is_written(here, kinds, written):
    """Device and threads of an executor are on no command line; beside timing, threads are the machine's own."""
    request = {"kinds": kinds, "options": {"device": "cuda", "threads": 4}}
    argv = ["run", "--task", "demo-sentiment", "--executor", "ray"]
    content = yaml.safe_load(as_text(stored(here, argv, request=request)))
    assert {key: content[key] for key in ("device", "threads") if key in content} == written
    content = yaml.safe_load(as_text(stored(here, argv[:3], request=request)))
    assert not content.keys() & {"device", "threads"}


@pytest.mark.parametrize(
    ("place", "is_written"), [("ours", True), ("/ours", False), ("../ours", False), ("~/ours", False)]
)
def test_what_is_written_is_read(here, place, is_written):
    """A place that no file may say is left to the reader, whom a comment tells so."""
    argv = ["distill", "--teacher", "bert-mini", "--text", "owner/name", "--save-to", place]
    text = as_text(stored(here, argv))
    options = list(inspect.signature(cli.function_of("distill")).parameters.values())
    assert ("save_to" in read(Path(write(text)), "distill", options)) == is_written
    assert ("Needs --save-to FOLDER" in text) != is_written


@pytest.mark.slow
def test_nothing_is_measured_again(here, monkeypatch, capsys):
    """Run, shown as a file, run from the file: the store has the answer."""
    words = ["run", "--task", "demo-sentiment", "--models", "bert-mini", "--only", "size", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["bertbench", *words])
    assert cli.main(words) == 0
    (session,) = Store(here / "results").sessions()
    capsys.readouterr()
    for name in (session.session.session_id, session.records[0].run_id):
        assert cli.main(["show", name, "--as-file"]) == 0
        text = capsys.readouterr().out
        assert yaml.safe_load(text) == {
            "command": "run", "task": "demo-sentiment", "models": "bert-mini", "threads": 1, "only": "size",
        }  # fmt: skip
    assert cli.main(["run", "--file", write(text)]) == 0
    assert f"taken from session {session.session.session_id}" in capsys.readouterr().err
    assert len(list(Store(here / "results").sessions())) == 1


def test_the_command_line_wins(requests):
    """Options beside --file replace what it says, flags by their negation; the record has what was meant in the end."""
    path = write(
        "command: run\ntask: demo-sentiment\nmodels: [bert-mini]\nseeds: 3\nfinetune: true\nconfig-dir: [a]\nonly: size\n"
    )
    Path("a").mkdir()
    Path("b").mkdir()
    request = requests("run", "--file", path, "--seeds", "1", "--no-finetune", "--config-dir", "b", "--threads", "2")
    assert (request.options.seeds, request.options.finetune, request.options.threads) == ((0,), False, 2)
    line = "run --task demo-sentiment --models bert-mini --only size --seeds 1 --threads 2 --config-dir b"
    assert sorted(request.argv) == sorted(line.split())


def test_absent_is_absent(requests):
    """A key without a value leaves the option to its default; false is false; a list may have one entry."""
    path = write("command: run\ntask: [demo-sentiment]\nmodels: [bert-mini]\nseeds:\nfull: no\nonly: [size]\nseed: ~\n")
    request = requests("run", "--file", path)
    assert (request.options.finetune, request.kinds) == (False, ("size",))
    assert "--full" not in request.argv


def test_paths_are_relative_to_the_file(requests, tiny, here):
    """A shared folder works from anywhere: data, results and checkpoints are looked for beside the file."""
    (here / "shared" / "data").mkdir(parents=True)
    (here / "shared" / "ours").symlink_to(tiny("bert"))
    path = write(
        "command: run\ntask: demo-sentiment\nmodels: [./ours, bert-mini]\ndata-dir: data\nreference: ./ours\nonly: size\n",
        "shared/study.yaml",
    )
    request = requests("run", "--file", path)
    assert request.options.data_dir == Path("shared/data")
    assert [spec.name for spec in request.models] == ["./shared/ours", "bert-mini"]
    assert request.reference == "./shared/ours"


def test_a_folder_that_could_be_a_name_is_refused(here, capsys):
    """What is a folder here or beside the file, and is not written as one, is not guessed at."""
    (here / "shared" / "org" / "ours").mkdir(parents=True)
    path = write("command: run\ntask: demo-sentiment\nmodels: [org/ours]\n", "shared/study.yaml")
    assert cli.main(["run", "--file", path]) == 2
    assert "key 'models': a folder is called so: write ./org/ours" in capsys.readouterr().err


WRONG = [
    ("learning_rate: 1", "key 'learning_rate' is no option of `bertbench run`. Did you mean 'learning-rate'?"),
    ("nonsense: 1", "key 'nonsense' is no option of `bertbench run`"),
    ("file: other.yaml", "key 'file' is no option"),
    ("argv: [a]", "key 'argv' is no option"),
    ("name: study", "key 'name' is no option"),
    ("seeds: [1]", "key 'seeds': a list of one would be read as a count"),
    ("seeds: [1, two]", "key 'seeds': expected a list of whole numbers, found [1, 'two'] (line 3)"),
    ("models: [1, 2]", "key 'models': expected a list of names"),
    ("seeds: {a: 1}", "key 'seeds'"),
    ("models: []", "key 'models': the list is empty"),
    ("device: [cpu]", "key 'device': expected one value, not a list"),
    ("epochs: many", "key 'epochs': input should be a valid number"),
    ("seed: yes", "key 'seed': true and false are for other options"),
    ("full: 3", "key 'full': expected true or false, found 3 (line 3)"),
    ("suite: 5", "key 'suite': YAML takes 5 for a number, not for text; quote it: suite: '5'"),
    ("format: csvv", "key 'format': input should be 'terminal', 'csv'"),
    ("models: {a: b}", "key 'models'"),
    ("data-dir: 7", "key 'data-dir'"),
    ("only: foo", "--only foo: 'foo' is not one of"),
    ("epochs: -1", "--epochs -1.0: must be a number above 0"),
    ("suite: bsae", "unknown suite 'bsae'; did you mean 'base'?"),
    ("config-dir: nowhere", "config directory nowhere: no such folder"),
    ("epochs: 1\nepochs: 2", "key 'epochs' is given twice"),
]


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_what_is_wrong_is_one_line(capsys, line, said):
    """Unknown keys, wrong types and values are one line that names the file and the key, with exit code 2."""
    write(f"command: run\ntask: demo-sentiment\n{line}\n")
    assert cli.main(["run", "--file", "study.yaml"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(("Error: study.yaml", "Error: with study.yaml: "))
    assert said in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("", "expected 'key: value' lines"),
        ("task: sst2", "key 'command' is missing. Write `command: run`"),
        ("command: speed", "key 'command': the file is for `bertbench speed`. `bertbench speed --file` takes it"),
        ("command: check", "key 'command': 'check' is not one of run, compare, speed, distill"),
        ("command: [run]", "key 'command': ['run'] is not one of"),
        ("command: run\na: [", "not valid YAML"),
    ],
)
def test_a_file_of_something_else_is_one_line(capsys, text, said):
    """A file that is not there, or is for another command, is one line that names it, with exit code 2."""
    if text is not None:
        write(text)
    assert cli.main(["run", "--file", "study.yaml"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("Error: study.yaml")
    assert said in error


def test_a_file_may_be_planned(capsys):
    """--dry-run goes with a file, beside it or in it."""
    path = write("command: run\ntask: demo-sentiment\nmodels: bert-mini\nonly: size\ndry-run: true\n")
    for words in (["--file", path], ["--file", path, "--dry-run"]):
        assert cli.main(["run", *words]) == 0
        assert "counting parameters" in capsys.readouterr().out
    assert list(Store(Path("results")).sessions()) == []


def test_every_taker_has_a_negation_of_each_flag():
    """What a file switches on the command line can switch off; commands without files are as they were."""
    for name in parsers():
        flags = [parameter for parameter in parsers()[name].params if getattr(parameter, "is_bool_flag", False)]
        takes = any(parameter.name == "file" for parameter in parsers()[name].params)
        assert takes == (name in TAKERS)
        if takes:
            assert all(flag.secondary_opts for flag in flags)


def test_every_key_that_is_not_shared_is_an_option():
    """What is left out of files is known by the names that options have."""
    import inspect

    names = {
        parameter.name
        for command in TAKERS
        for parameter in keys_of(list(inspect.signature(cli.function_of(command)).parameters.values())).values()
    }
    assert names >= NOT_SHARED
    assert "file" not in names
    assert "argv" not in names


def test_what_a_reader_lacks_is_said(here):
    """Paths, checkpoints of runs and configs of one's own are comments; passwords and what is of one machine stay away."""
    text = as_text(
        stored(
            here,
            [
                *("run", "--task", "tickets", "--models", "ours,run:abc,./ckpt,bert", "--data-dir", "/data"),
                *("--results-dir", "https://me:secret@host/x", "--config-dir", "gone", "--ray-address", "auto"),
                *("--reference", "https://me:secret@host/y", "--output", "a.md", "--shard", "1/2", "--fresh"),
            ],
        )
    )
    assert "secret" not in text
    content = yaml.safe_load(text)
    assert content.keys() == {
        *("command", "task", "models", "data-dir", "reference", "config-dir", "max-minutes", "dtype")
    }
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert "Nobody else may have /data" in "\n".join(comments)
    assert any(line.endswith("checkpoints of the results folder: run:abc") for line in comments)
    assert any(line.endswith("model ours") for line in comments)
    assert any(line.endswith("task tickets") for line in comments)


def test_more_than_ten_runs_need_their_yes(here):
    """--yes is of the moment, but for a study that is refused without it."""
    argv = ("run", "--task", "sst2", "--yes")
    assert "yes" not in yaml.safe_load(as_text(stored(here, argv)))
    frame = factories.predictions(0.9, 20)
    records = [factories.quality_record("bert", frame, seed=seed) for seed in range(11)]
    factories.stored_session(here / "many", session=factories.session_record(argv=argv), records=records)
    assert yaml.safe_load(as_text(next(Store(here / "many").sessions())))["yes"] is True


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "measured by a program or a notebook"),
        (("verify", "--measure"), "measured by `bertbench verify`; files are for run, compare, speed, distill"),
        (("run", "--gone", "1"), "its command line is of another version: No such option: --gone"),
        (("run", "--help"), "its command line is of another version: No such option: --help"),
        (("run", "--file", "/etc/passwd"), "its command line names a file, which is not read"),
    ],
)
def test_what_no_file_can_say_is_refused(here, argv, said):
    """Sessions of notebooks, of other commands and of options that are gone are one line."""
    with pytest.raises(UsageError, match="session") as caught:
        as_text(stored(here, argv))
    assert said in str(caught.value)


def test_a_file_goes_to_stdout_alone(capsys):
    """--as-file needs a run and has one format."""
    assert cli.main(["show", "--as-file"]) == 2
    assert "no run is named" in capsys.readouterr().err
    assert cli.main(["show", "x", "--as-file", "--format", "csv"]) == 2
    assert "writes YAML to stdout" in capsys.readouterr().err
