"""Commands on a bucket: one machine measures into it, another reads it, and a bucket that nobody may write to is refused before work."""

import pytest

import bertbench
from bertbench import cli

pytestmark = pytest.mark.slow
RUN = (
    "run", "--task", "demo-sentiment", "--models", "bert-mini", "--only", "size,quality", "--max-minutes", "0", "--train-samples",
    "64", "--eval-samples", "64", "--threads", "1",
)  # fmt: skip


@pytest.fixture
def s3(monkeypatch):
    """The URL of a store in an empty bucket of an S3 on this machine, and the server."""
    moto = pytest.importorskip("moto.server")
    library = pytest.importorskip("s3fs")
    import boto3

    library.S3FileSystem.clear_instance_cache()  # which holds on to the address of an earlier test's server

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="campaign")
    yield "s3://campaign/results"
    server.stop()
    library.S3FileSystem.clear_instance_cache()


@pytest.fixture
def on(bench, tmp_path):
    """Runs a command on a machine, which has a cache of its own."""

    def run(machine, *arguments):
        return bench(*arguments, XDG_CACHE_HOME=str(tmp_path / machine))

    return run


def test_another_machine_goes_on_with_what_one_has_measured(s3, on, tmp_path, monkeypatch):
    """What was measured is taken from the bucket, shown, put on a page, and a kept checkpoint is evaluated from it."""
    first = on("one", *RUN, "--keep-checkpoints", "best", "--results-dir", s3)
    assert first.code == 0, first.stderr
    again = on("another", *RUN, "--results-dir", s3)
    assert again.code == 0, again.stderr
    assert "taken from" in again.stderr
    table = on("another", "export", "--format", "csv", "--results-dir", s3)
    assert (table.code, ",parameters," in table.stdout) == (0, True), table.stderr
    page = on("third", "report", "--results-dir", s3, "--output", tmp_path / "page.html")
    assert page.code == 0, page.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    (run_id,) = bertbench.load_results(s3, kind="quality").run_id.unique()
    evaluated = on(
        "fourth", "run", "--task", "demo-sentiment", "--models", f"run:{run_id}", "--only", "quality", "--eval-samples", "64",
        "--threads", "1", "--results-dir", s3,
    )  # fmt: skip
    assert evaluated.code == 0, evaluated.stderr


def test_a_bucket_that_nobody_may_write_to_is_refused_before_work(s3, monkeypatch, tmp_path, capsys):
    """One line names the bucket and says that there is no permission; nothing is measured."""
    import s3fs

    def refuse(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(s3fs.S3FileSystem, "pipe_file", refuse)
    assert cli.main([*RUN, "--results-dir", s3]) == 2
    error = capsys.readouterr().err
    assert f"{s3}: no permission" in error
    assert "fine-tuning" not in error


def test_a_bucket_that_is_not_there_is_one_line(s3, on):
    """The name is said, and what to look at."""
    done = on("one", *RUN, "--results-dir", s3.replace("campaign", "nothing"))
    assert done.code == 2
    assert "s3://nothing/results" in done.error
