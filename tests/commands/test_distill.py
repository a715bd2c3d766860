"""`bertbench distill`: what is refused before any work, and students that come out as ordinary checkpoints."""

import csv
import io
import json
import shutil
import stat
from types import SimpleNamespace

import pytest

from bertbench import cli
from bertbench.commands.distill import _check_target, _save
from bertbench.records.store import Store
from bertbench.session.options import StudyOptions
from tests.factories import model_spec, record

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = (
    "--only", "quality", "--threads", "1", "--train-samples", "64", "--eval-samples", "40", "--epochs", "1", "--format", "csv",
)  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of one's own to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shown(place, capsys):
    """Long rows that a command line prints, and what it says beside them."""

    def run(*arguments, code=0):
        assert cli.main(["distill", *arguments]) == code, capsys.readouterr().err
        captured = capsys.readouterr()
        return list(csv.DictReader(io.StringIO(captured.out))), captured.err

    return run


@pytest.fixture
def refused(place, capsys):
    """The one line that a command line is refused with."""

    def run(*arguments):
        assert cli.main(["distill", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.strip().splitlines()
        return line.removeprefix("Error: ")

    return run


MINI = ("--teacher", "bert-mini", "--task", "demo-sentiment")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--student-layers", "3"), "--student-layers 3: the teacher has 2 layers"),
        (("--embedding-size", "65"), "--embedding-size 65: the hidden size is 64"),
        (("--temperature", "0"), "--temperature 0.0: input should be greater than 0"),
        (("--alpha-soft", "0", "--alpha-hard", "0"), "are both 0: nothing would be learnt"),
        (("--alpha-soft", "-1"), "--alpha-soft -1.0"),
        (("--alpha-mlm", "1"), "--alpha-mlm goes with --text"),
        (("--student", "distilbert-mini", "--student-layers", "1"), "--student teaches a model as it is"),
        (("--ablation", "losses", "--alpha-soft", "0"), "starts from all losses"),
        (("--text", "x.txt"), "--save-to FOLDER"),
        (("--text", "x.txt", "--save-to", "s", "--alpha-hard", "1"), "--alpha-hard goes with a task"),
        (("--text", "x.txt", "--save-to", "s", "--alpha-soft", "0", "--alpha-mlm", "0", "--alpha-cos", "0"), "nothing would be learnt"),
        (("--text", "x.txt", "--save-to", "s"), "--teacher bert-mini: has no weights to teach with"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(refused, options, message):
    """One line that names the option and what goes, before any work."""
    assert message in refused(*MINI, *options)


def test_there_must_be_something_to_learn_from(refused):
    """Neither task nor text, an unknown task, an unknown teacher."""
    assert "nothing to learn from" in refused("--teacher", "bert-mini")
    assert "demo-sentimen" in refused("--teacher", "bert-mini", "--task", "demo-sentimen")
    assert "bert-mimi" in refused("--teacher", "bert-mimi", "--task", "demo-sentiment")


def test_text_and_task_are_told_apart(refused):
    """Options of a task are refused where none follows the text, and the store cannot answer for training."""
    text = ("--teacher", "bert-mini", "--text", "x.txt", "--save-to", "s")
    assert "--epochs applies to the task that follows" in refused(*text, "--epochs", "3")
    assert "--from-store does not go with --text" in refused(*text, "--from-store")


def test_a_tracker_has_nothing_to_log_where_no_task_follows(refused, monkeypatch):
    """Distillation on text makes no record, so --track is refused rather than ignored."""
    monkeypatch.setattr("bertbench.report.tracking.find_spec", lambda _: object())
    text = ("--teacher", "bert-mini", "--text", "x.txt", "--save-to", "s")
    assert "--track applies to the task that follows" in refused(*text, "--track", "trackio")


def test_a_place_that_cannot_be_written_is_found_before_training(refused):
    """Not after hours of it; nor is a checkpoint promised where none is made."""
    assert "--save-to /proc/student" in refused(*MINI, "--save-to", "/proc/student")
    assert "--save-to needs quality" in refused(*MINI, "--save-to", "s", "--only", "size")


def test_a_place_that_is_taken_is_refused(refused, place):
    """A folder with something in it is never written over, and there must be a checkpoint to save."""
    (place / "taken").mkdir()
    (place / "taken" / "file").touch()
    assert "--save-to taken: is not empty" in refused(*MINI, "--save-to", "taken")
    assert "eave out --keep-checkpoints none" in refused(*MINI, "--save-to", "new", "--keep-checkpoints", "none")


def test_an_empty_folder_stays_the_one_it_was(place):
    """Proving that a folder can be written to neither removes it nor changes its mode."""
    (place / "mine").mkdir(mode=0o700)
    inode = (place / "mine").stat().st_ino
    _check_target(place / "mine", StudyOptions())
    assert (stat.S_IMODE((place / "mine").stat().st_mode), (place / "mine").stat().st_ino) == (0o700, inode)


@pytest.mark.parametrize("hostile", ["stray", "config.json", "outside"])
def test_a_student_is_saved_by_name_and_never_through_links(place, tiny, capsys, hostile):
    """A link beside the weights is left out, one among them refused, and a checkpoint outside the store too: a line, no key."""
    (place / "key").write_text("secret")
    store, kept = Store(place / "results"), place / "results" / "checkpoints" / "k"
    shutil.copytree(tiny("bert"), kept)
    if hostile == "stray":
        (kept / "notes.txt").symlink_to(place / "key")
    elif hostile == "config.json":
        (kept / "config.json").unlink()
        (kept / "config.json").symlink_to(place / "key")
    else:
        kept.rename(place / "elsewhere")
    path = "../elsewhere" if hostile == "outside" else "checkpoints/k"
    run = record("quality", finetuned_checkpoint=path)
    answer = SimpleNamespace(stored=SimpleNamespace(records=[run]))
    assert _save(answer, store, model_spec(), place / "out") == (0 if hostile == "stray" else 1)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not any(file.name in {"notes.txt", "key"} for file in place.glob("out/*"))
    assert (place / "out" / "model.safetensors").exists() == (hostile == "stray")


SLOW = [pytest.param(f"demo-{kind}", marks=pytest.mark.slow) for kind in ("entities", "questions")]


@pytest.mark.parametrize("task", ["demo-sentiment", *SLOW])
@pytest.mark.slow
def test_every_kind_of_task_is_distilled(shown, place, task):
    """Teacher and student stand in one table with retention, and the student is a DistilBERT that transformers takes."""
    from transformers import AutoConfig

    rows, said = shown("--teacher", "bert-mini", "--task", task, *QUICK, "--save-to", "small")
    scores = {row["model"]: row["status"] for row in rows if (row["quantity"], row["statistic"]) == ("score", "mean")}
    assert scores == {"bert-mini": "ok", "bert-mini-1-layer": "ok"}
    config = AutoConfig.from_pretrained(place / "small")
    assert (config.model_type, config.n_layers) == ("distilbert", 1)
    assert "is saved in small" in said


@pytest.mark.slow
def test_a_student_that_was_trained_before_learns_again(shown, place):
    """A checkpoint with a head is taught all the same; what was not kept cannot be saved, and that is a failure."""
    shown(*MINI, *QUICK, "--save-to", "small")
    rows, _ = shown(*MINI, *QUICK, "--student", "./small")
    assert ("./small-taught", "ok") in {(row["model"], row["status"]) for row in rows if row["quantity"] == "score"}
    for path in place.glob("results/checkpoints/*"):
        path.rename(place / path.name)
    _, said = shown(*MINI, *QUICK, "--save-to", "again", code=1)
    assert "--fresh trains it again" in said


@pytest.mark.slow
def test_the_store_answers_for_what_was_asked_alone(shown):
    """--from-store knows temperatures apart."""
    shown(*MINI, *QUICK)
    shown(*MINI, *QUICK, "--from-store")
    shown(*MINI, *QUICK, "--temperature", "7", "--from-store", code=4)


@pytest.mark.slow
def test_alberts_way(shown, place):
    """Sharing and narrow embeddings give an ALBERT that other commands take."""
    from transformers import AutoConfig

    shown(*MINI, *QUICK, "--share", "all", "--embedding-size", "16", "--save-to", "shared")
    config = AutoConfig.from_pretrained(place / "shared")
    assert (config.model_type, config.num_hidden_groups, config.embedding_size) == ("albert", 1, 16)
    assert cli.main(["params", "--models", "./shared", "--reference", "./shared"]) == 0


@pytest.mark.slow
def test_an_ablation_is_one_table(shown):
    """Four students and their teacher, each with a difference to the teacher; a second time nothing is trained."""
    rows, _ = shown(*MINI, *QUICK, "--ablation", "losses")
    retained = [row["model"] for row in rows if (row["quantity"], row["statistic"]) == ("retention", "mean")]
    names = [f"bert-mini-1-layer{suffix}" for suffix in ("", "-no-soft", "-no-hard", "-random-start")]
    assert retained == ["bert-mini", *names]
    _, said = shown(*MINI, *QUICK, "--ablation", "losses")
    assert "taken from session" in said


@pytest.mark.slow
def test_a_student_of_a_yaml_brings_its_teacher(place, capsys):
    """`run` on a model that learns from another measures that one too, and `params` does not."""
    assert cli.main(["run", "--task", "demo-sentiment", "--models", "distilbert-mini", *QUICK]) == 0
    models = {row["model"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert models == {"distilbert-mini", "bert-mini"}


@pytest.mark.slow
def test_distillation_on_text(shown, place, tiny):
    """Students of an ablation are saved one by one with how they came about, and compared on a task."""
    from transformers import AutoModelForMaskedLM

    (place / "text.txt").write_text("the film is good\nthe plot was dull\n" * 40)
    teacher = str(tiny("bert", head="masked-lm", max_position_embeddings=128))
    rows, _ = shown(
        "--teacher", teacher, "--text", "text.txt", "--steps", "3", "--batch-size", "4", "--max-length", "16",
        "--save-to", "students", "--ablation", "losses", "--task", "demo-sentiment", *QUICK,
    )  # fmt: skip
    names = ["full", "no-soft", "no-mlm", "no-cos", "random-start"]
    assert sorted(path.name for path in (place / "students").iterdir()) == sorted(names)
    about = json.loads((place / "students" / "no-cos" / "bertbench.json").read_text())
    assert (about["recipe"]["alpha_cos"], about["run"]["steps"], set(about["run"]["losses"])) == (0, 3, {"soft", "mlm"})
    model = AutoModelForMaskedLM.from_pretrained(place / "students" / "full")
    assert type(model).__name__ == "DistilBertForMaskedLM"
    scores = [row["model"] for row in rows if (row["quantity"], row["statistic"]) == ("score", "mean")]
    assert scores[1:] == names


@pytest.mark.slow
def test_time_on_text_is_shared_among_the_students(shown, place, tiny):
    """Of an ablation each student has its part of --max-minutes; what was cut short says so and is saved."""
    (place / "text.txt").write_text("the film is good\n" * 40)
    teacher = str(tiny("bert", head="masked-lm"))
    _, said = shown(
        "--teacher", teacher, "--text", "text.txt", "--save-to", "s", "--ablation", "losses", "--steps", "100000", "--batch-size", "4",
        "--max-length", "16", "--max-minutes", "0.2", "--threads", "1", "--format", "csv",
    )  # fmt: skip
    assert said.count("saved in s/") == 5
    steps = [json.loads((folder / "bertbench.json").read_text())["run"]["steps"] for folder in (place / "s").iterdir()]
    assert all(1 < count < 100_000 for count in steps)


def test_a_student_is_not_called_like_its_teacher(refused, place, tiny):
    """Students are called by their folders; one called like the teacher would take its place in the table."""
    import shutil

    (place / "text.txt").write_text("the film is good\n" * 40)
    shutil.copytree(tiny("bert", head="masked-lm"), place / "teacher")
    (place / "configs" / "models").mkdir(parents=True)
    (place / "configs" / "models" / "mine.yaml").write_text("title: m\narchitecture: bert\ncheckpoint: ./teacher\n")
    assert "the student would have the teacher's name" in refused(
        "--teacher", "mine", "--text", "text.txt", "--save-to", "o/mine", "--max-length", "64"
    )


def test_a_task_that_does_not_fit_is_found_before_the_text_is_read(refused, place, tiny):
    """Texts longer than the teacher takes would only show after hours of distillation."""
    (place / "text.txt").write_text("the film is good\n" * 40)
    teacher = str(tiny("bert", head="masked-lm"))
    said = refused(
        "--teacher", teacher, "--text", "text.txt", "--save-to", "s", "--task", "demo-sentiment", "--max-length", "64"
    )
    assert "128 tokens" in said
    assert not (place / "s").exists()


def test_a_teacher_without_answers_says_so(refused, place, tiny):
    """No masked-language-model head: the loss that needs it is named, before anything is trained."""
    (place / "text.txt").write_text("the film is good\n" * 40)
    said = refused("--teacher", str(tiny("bert")), "--text", "text.txt", "--save-to", "s", "--max-length", "64")
    assert "no masked-language-model head" in said
    assert "--alpha-soft 0" in said


def test_text_that_is_empty_is_refused(refused, place, tiny):
    """Nothing to learn from is an error, and nothing is saved."""
    (place / "text.txt").write_text("\n\n")
    teacher = str(tiny("bert", head="masked-lm"))
    assert cli.main(["distill", "--teacher", teacher, "--text", "text.txt", "--save-to", "s"]) != 0
    assert not (place / "s").exists()


def test_texts_that_are_too_long_for_the_teacher_are_refused_before_any_is_read(refused, place, tiny):
    """One token more than the teacher takes would fail in the middle of the first step."""
    (place / "text.txt").write_text("the film is good\n" * 40)
    teacher = str(tiny("roberta", head="masked-lm"))
    said = refused("--teacher", teacher, "--text", "text.txt", "--save-to", "s", "--max-length", "63")
    assert "--max-length 63 is beyond the model's 62 tokens" in said
