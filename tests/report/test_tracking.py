"""Experiment trackers: what they are told, that they send nothing unasked, and that one which fails costs no result."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from bertbench.errors import UnavailableError, UnknownNameError, UsageError
from bertbench.records.record import Measurement
from bertbench.report import tracking
from bertbench.report.tracking import Tracking, open_tracking, tracked
from bertbench.specs import plugins
from tests import factories

NAMES = ("mlflow", "tensorboard", "trackio", "wandb")
SETTINGS = ("WANDB_", "MLFLOW_", "TRACKIO_", "TENSORBOARD_")


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch, tmp_path):
    """No tracker is set up, and what one writes by default goes to an empty folder."""
    import os

    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def library(monkeypatch):
    """Puts a stand-in in the place of a library, under each of its modules' names, and gives it."""

    def put(*modules):
        stand_in = MagicMock()
        stand_in.__spec__ = ModuleSpec(modules[0], None)  # which transformers looks at
        for name in modules:
            monkeypatch.setitem(sys.modules, name, stand_in)
        return stand_in

    return put


def quality(**fields):
    """A finished record of a score."""
    values = {
        "task_name": "sst2",
        "seed": 3,
        "weights_digest": "ab" * 32,
        "measurements": (Measurement("score", "1", (0.9,), split="validation"),),
        "seconds": 12.5,
    }
    return factories.record("quality", **(values | fields))


class Kept:
    """A tracker that keeps what it is told, and fails if told so."""

    requires, extra = "json", "kept"

    def __init__(self, error=None):
        self.runs, self.error = [], error

    def log(self, run):
        """Keep the run."""
        print("greetings")  # noqa: T201 (as trackers do)
        print("more of them", file=sys.stderr)  # noqa: T201
        if self.error:
            raise self.error
        self.runs.append(run)


def test_each_tracker_is_one_file():
    """Files in the folder are the trackers, each with a module that it needs and an extra that installs it."""
    assert tuple(plugins.names(tracking.PACKAGE)) == NAMES
    for name in NAMES:
        plugin = plugins.load(tracking.PACKAGE, "tracker", name)
        assert (plugin.requires, plugin.extra) == (name, name)


def test_the_help_names_every_tracker():
    """Nobody has to look into the code for names."""
    from tests.test_readme import parsers

    (option,) = (parameter for parameter in parsers()["run"].params if parameter.name == "track")
    assert all(name in option.help for name in NAMES)


def test_a_run_says_what_was_run_and_what_came_out():
    """Scores are metrics by quantity and split; model, task, seed, session, weights and settings are parameters."""
    run = tracked(
        quality(settings={"epochs": 3.0, "teaching": {"temperature": 2.0}, "shapes": ["1x128"], "head": None})
    )
    assert run.metrics == {"score/validation": 0.9, "seconds": 12.5}
    assert (
        run.params.items()
        >= {
            "session": factories.SESSION_ID,
            "model": "bert",
            "task": "sst2",
            "seed": 3,
            "weights_digest": "ab" * 32,
            "settings/epochs": 3.0,
            "settings/teaching/temperature": 2.0,
            "settings/shapes": '["1x128"]',
        }.items()
    )
    assert "settings/head" not in run.params


def test_a_run_says_in_which_order_it_saw_its_data():
    """Runs that differ in their data seed alone are told apart; without one there is no parameter."""
    assert [tracked(quality(data_seed=seed)).params["data_seed"] for seed in (0, 7)] == [0, 7]
    assert "data_seed" not in tracked(quality()).params


def test_times_are_medians_by_shape():
    """Of several readings a tracker gets the median, under a name that tells shapes apart."""
    times = Measurement(
        "latency", "s", (0.3, 0.1, 0.2), "round-median", scenario="fixed", batch_size=1, sequence_length=128
    )
    run = tracked(factories.record("speed", measurements=(times,)))
    assert run.metrics == {"latency/round-median/fixed/batch-1/tokens-128": 0.2}


def test_sizes_of_a_real_record_have_names_of_their_own():
    """No two measurements of a record have one name."""
    record = factories.size_record()
    assert len(tracked(record).metrics) == len(record.measurements)


def test_what_logs_in_is_not_logged():
    """A password in an address stays here."""
    run = tracked(quality(checkpoint="https://me:secret@host/model"))
    assert run.params["checkpoint"] == "https://host/model"


def test_a_failed_record_says_why():
    """A failure is logged as one, with its reason and no figures."""
    run = tracked(factories.failed("quality", message="out of memory"))
    assert (run.status, run.metrics, run.params["error"]) == ("failed", {}, "out of memory")


def test_a_record_told_again_is_the_same_run_one_step_on():
    """A score on a larger sample follows the one before it."""
    kept = Kept()
    told = Tracking({"kept": kept})
    for score in (0.8, 0.9):
        told.tell(quality(measurements=(Measurement("score", "1", (score,), split="validation"),)))
    told.tell(quality(run_id="another"))
    assert [(run.id, run.step) for run in kept.runs] == [(kept.runs[0].id, 0), (kept.runs[0].id, 1), ("another", 0)]


def test_a_tracker_that_fails_is_one_line_and_told_no_more(capsys):
    """Its error is a warning; the other trackers go on, and so does the caller."""
    broken, kept = Kept(RuntimeError("no route\nto host https://me:secret@host")), Kept()
    told = Tracking({"broken": broken, "kept": kept})
    (line,) = told.tell(quality())
    assert line.startswith("warning: broken: cannot log (no route)")
    assert told.tell(quality()) == []
    assert len(kept.runs) == 2
    assert capsys.readouterr() == ("", "")  # stdout is for results


def test_a_tracker_that_hangs_is_left_behind(monkeypatch):
    """Measuring does not wait for a server that never answers."""
    import threading

    ended = threading.Event()
    monkeypatch.setattr(tracking, "PATIENCE_S", 0.05)
    told = Tracking({"hanging": SimpleNamespace(log=lambda _: ended.wait(20))})
    (line,) = told.tell(quality())
    ended.set()
    assert "hanging: cannot log (no answer within 0.05 s)" in line
    assert told.trackers == {}


@pytest.mark.parametrize(("names", "kind"), [("wanbd", UnknownNameError), (",", UsageError)])
def test_names_are_checked_before_any_work(names, kind):
    """A name that is none is refused with the nearest one."""
    with pytest.raises(kind, match=r"wandb|trackio|names no tracker"):
        open_tracking(names)


def test_a_package_that_is_missing_is_one_line(monkeypatch):
    """What to install is said at once."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "mlflow" else object())
    with pytest.raises(UnavailableError) as caught:
        open_tracking("wandb, mlflow")
    assert str(caught.value) == "--track mlflow: mlflow is not installed. Install it: pip install 'bertbench[mlflow]'"


def test_without_the_option_nobody_is_told():
    """No tracker is loaded, and none is told."""
    assert open_tracking(None).tell(quality()) == []


# Each tracker, with a stand-in for its library.


def log(name, **fields):
    """Log a record with a tracker."""
    run = tracked(quality(**fields))
    plugins.load(tracking.PACKAGE, "tracker", name).log(run)
    return run


def test_trackio_is_local_and_watches_nothing(library):
    """A run of the project bertbench with parameters and metrics; no Space, no watching of the machine, ended at once."""
    trackio = library("trackio")
    run = log("trackio")
    given = trackio.init.call_args.kwargs
    assert (given["project"], given["name"], given["group"], given["config"]) == (
        "bertbench",
        run.id,
        run.session,
        run.params,
    )
    assert "space_id" not in given
    assert given["auto_log_cpu"] is given["auto_log_gpu"] is given["embed"] is False
    trackio.log.assert_called_once_with(run.metrics, step=0)
    trackio.finish.assert_called_once_with()


def test_trackio_is_ended_though_it_fails(library):
    """No thread of it is left."""
    trackio = library("trackio")
    trackio.log.side_effect = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        log("trackio")
    trackio.finish.assert_called_once_with()


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "key"}, "online"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "key"}, "disabled"),
    ],
)
def test_wandb_is_offline_unless_told_otherwise(library, monkeypatch, settings, mode):
    """Only the user's own variables make it send."""
    wandb = library("wandb")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    run = log("wandb")
    given = wandb.init.call_args.kwargs
    assert (given["mode"], given["id"], given["config"]) == (mode, run.id, run.params)
    assert wandb.Settings.call_args.kwargs["console"] == "off"
    wandb.init.return_value.log.assert_called_once_with(run.metrics, step=0)
    wandb.init.return_value.finish.assert_called_once_with(exit_code=0)


def test_wandb_marks_failed_runs(library):
    """A failed record is a failed run."""
    wandb = library("wandb")
    log("wandb", status="failed")
    wandb.init.return_value.finish.assert_called_once_with(exit_code=1)


def test_mlflow_continues_a_run_that_is_there(library):
    """A record is one run of the experiment, found by its tag; its parameters are written once."""
    mlflow = library("mlflow", "mlflow.entities")
    client = mlflow.MlflowClient.return_value
    client.get_experiment_by_name.return_value = None
    client.create_experiment.return_value = "7"
    client.search_runs.return_value = []
    run = log("mlflow")
    assert client.create_run.call_args.kwargs["tags"] == {"bertbench.run": run.id, "bertbench.session": run.session}
    assert len(client.log_batch.call_args.kwargs["params"]) == len(run.params)
    client.search_runs.return_value = [SimpleNamespace(info=SimpleNamespace(run_id="5"))]
    log("mlflow", status="failed")
    assert client.create_run.call_count == 1
    assert client.log_batch.call_args.args == ("5",)
    assert client.log_batch.call_args.kwargs["params"] == []
    client.set_terminated.assert_called_with("5", "FAILED")


def test_tensorboard_writes_a_folder_a_record(library, monkeypatch, tmp_path):
    """Scalars and hyperparameters go to a folder under TENSORBOARD_LOGGING_DIR, whose file is closed."""
    parts = (
        "compat",
        "compat.proto",
        "compat.proto.event_pb2",
        "compat.proto.summary_pb2",
        "plugins",
        "plugins.hparams",
    )
    more = ("summary", "summary.writer", "summary.writer.event_file_writer")
    tensorboard = library("tensorboard", *(f"tensorboard.{part}" for part in (*parts, *more)))
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    run = log("tensorboard")
    tensorboard.EventFileWriter.assert_called_once_with(str(tmp_path / "events" / run.session / run.id))
    tensorboard.summary_v2.hparams_pb.assert_called_once_with(run.params, trial_id=run.id)
    assert [call.kwargs["tag"] for call in tensorboard.Summary.Value.call_args_list] == list(run.metrics)
    tensorboard.EventFileWriter.return_value.close.assert_called_once_with()


# The same with the libraries themselves, where they are installed.


def test_trackio_keeps_a_run(monkeypatch, tmp_path):
    """What was logged is in trackio's database, a step each time."""
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    code = (
        "from tests.report.test_tracking import quality, tracking; told = tracking.open_tracking('trackio')\n"
        "assert told.tell(quality()) == told.tell(quality()) == []\n"
        "from trackio.sqlite_storage import SQLiteStorage as kept; (run,) = kept.get_runs('bertbench')\n"
        "assert [entry['score/validation'] for entry in kept.get_logs('bertbench', run)] == [0.9, 0.9]"
    )
    _alone(code)


def test_wandb_keeps_an_offline_run(tmp_path):
    """Without a login there is a file to be sent later."""
    pytest.importorskip("wandb")
    _alone(
        "from tests.report.test_tracking import quality, tracking; assert tracking.open_tracking('wandb').tell(quality()) == []"
    )
    assert len(list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))) == 1


def test_mlflow_keeps_a_run(monkeypatch, tmp_path):
    """What was logged is in MLflow's store, one run however often it is told."""
    pytest.importorskip("mlflow")
    if importlib.util.find_spec("sqlalchemy") is None:  # of the slim package: a folder is all that it can write
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    code = (
        "from tests.report.test_tracking import quality, tracking; told = tracking.open_tracking('mlflow')\n"
        "assert (lines := told.tell(quality()) + told.tell(quality())) == [], lines\n"
        "import mlflow; client = mlflow.MlflowClient(); known = client.get_experiment_by_name('bertbench')\n"
        "(run,) = client.search_runs([known.experiment_id])\n"
        "assert run.data.metrics['score/validation'] == 0.9; assert run.data.params['model'] == 'bert'"
    )
    _alone(code)


def test_tensorboard_reads_what_is_written():
    """TensorBoard's own reader finds the scalars."""
    pytest.importorskip("tensorboard")
    code = (
        "from tests.report.test_tracking import quality, tracking; told = tracking.open_tracking('tensorboard')\n"
        "assert (lines := told.tell(quality()) + told.tell(quality())) == [], lines\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "import pathlib; (folder,) = pathlib.Path('runs').glob('*/*')\n"
        "read = EventAccumulator(str(folder)); read.Reload()\n"
        "assert [(event.step, round(event.value, 3)) for event in read.Scalars('score/validation')] == [(0, 0.9), (1, 0.9)]"
    )
    _alone(code)


def _alone(code):
    """Run code in a process of its own: these libraries change what they are imported into, and warn."""
    import os
    import subprocess
    from pathlib import Path

    root = Path(__file__).parents[2]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr


def test_the_command_tells_trackers_of_what_it_measures_and_of_what_was_stored(library, monkeypatch, tmp_path, capsys):
    """`--track` logs each record of a run; the same command again is answered from the store, and logs the same runs."""
    from bertbench import cli

    monkeypatch.setattr(tracking, "find_spec", lambda _: object())
    trackio = library("trackio")
    command = ["run", "--task", "demo-sentiment", "--models", "bert-mini", "--only", "size", "--track", "trackio"]
    for count in (1, 2):
        assert cli.main([*command, "--results-dir", str(tmp_path / "results"), "--quiet"]) == 0, capsys.readouterr().err
        assert trackio.init.call_count == count
    first, second = (call.kwargs for call in trackio.init.call_args_list)
    assert first == second
    assert first["config"]["model"] == "bert-mini"
