"""What all tests share: no network, no caches of the user's, and bertbench in a process of its own.

The hub libraries read their settings at import, so they are set before any test module is collected.
"""

import contextlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SERVE = CHECKOUT.parent / "shared" / "hub" / "serve.py"
HUB_VARIABLES = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "DISABLE_SAFETENSORS")

_world = contextlib.ExitStack()


def pytest_configure():
    """A temporary HF_HOME, and a hub address that refuses at once: bound, hence nobody's, but nobody listens."""
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # of a job in the background; processes that are started inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    closed = _world.enter_context(socket.socket())
    closed.bind(("127.0.0.1", 0))
    home = tempfile.mkdtemp(prefix="bertbench-tests-")
    _world.callback(shutil.rmtree, home, ignore_errors=True)
    for name in [name for name in os.environ if name.startswith(HUB_VARIABLES)]:
        del os.environ[name]
    os.environ.pop("COLUMNS", None)  # which pytest-xdist sets, too; expected tables have the width of no terminal
    os.environ["HF_HOME"] = home
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


def pytest_unconfigure():
    """Remove the temporary home."""
    _world.close()


@pytest.fixture(autouse=True)
def unknown_hub_state():
    """Every test finds the hub's state out anew, and what offline mode changed is put back."""
    from bertbench.models import hub

    before = dict(os.environ)
    modules = [sys.modules.get(name) for name in ("huggingface_hub.constants", "datasets.config")]
    settings = [(module, module.HF_HUB_OFFLINE) for module in modules if module is not None]
    hub.state.cache_clear()
    yield
    hub.state.cache_clear()
    for module, value in settings:
        module.HF_HUB_OFFLINE = value
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def hub_not_asked():
    """Fails a test in which anything has asked whether the hub can be reached."""
    from bertbench.models import hub

    yield
    assert hub.state.cache_info().misses == 0, "the hub was asked"


@pytest.fixture
def reachable_hub(monkeypatch):
    """The address of a hub that can be reached, and has nothing."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        """Whatever is asked for is not there."""

        def do_GET(self):
            """No such thing."""
            self.send_error(404)

        def do_HEAD(self):
            """The same, without a body."""
            self.send_error(404)

        def log_message(self, *_):
            """Nothing: stderr belongs to the test."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield address
        server.shutdown()


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self):
        """The one line 'Error: …' on stderr; fails if there is none, several, or a traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        (line,) = (line for line in self.stderr.splitlines() if line.startswith("Error: "))
        return line.removeprefix("Error: ")


def _python(tmp_path_factory, arguments, *, endpoint, home=None, cwd=None, timeout=300, **environment):
    variables = {key: value for key, value in os.environ.items() if not key.startswith(HUB_VARIABLES)} | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home or tmp_path_factory.mktemp("hf-home")),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(CHECKOUT),
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd or tmp_path_factory.mktemp("cwd"),
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def python(tmp_path_factory):
    """Runs a Python snippet in a process of its own: `python(code, endpoint=…, home=…, **environment)`."""

    def run(code, *, endpoint=None, **options):
        return _python(tmp_path_factory, ["-c", code], endpoint=endpoint or os.environ["HF_ENDPOINT"], **options)

    return run


@pytest.fixture
def bench(tmp_path_factory):
    """Runs `bertbench …` where no hub can be reached: `bench("list", "models", home=…, cwd=…)`."""

    def run(*arguments, endpoint=None, **options):
        command = ["-m", "bertbench", *arguments]
        return _python(tmp_path_factory, command, endpoint=endpoint or os.environ["HF_ENDPOINT"], **options)

    return run


@pytest.fixture(scope="session")
def shared_hub_folder():
    """The folder of the stand-in hub beside the checkout; skips the test where there is none."""
    if not SERVE.is_file():
        pytest.skip("needs the stand-in hub beside the checkout (../shared/hub)")
    return SERVE.parent


@pytest.fixture(scope="session")
def stand_in_hub(shared_hub_folder):
    """The address of a stand-in hub with tiny random weights."""
    command = [sys.executable, str(shared_hub_folder / "serve.py"), "--standins", "tiny"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline().strip()
            assert line.startswith("HF_ENDPOINT="), f"the stand-in hub did not start: {line!r}"
            yield line.removeprefix("HF_ENDPOINT=")
        finally:
            server.terminate()


@pytest.fixture
def hub_cli(bench, stand_in_hub):
    """Runs `bertbench …` against the stand-in hub, with an empty cache unless `home` is given."""

    def run(*arguments, **options):
        return bench(*arguments, endpoint=stand_in_hub, **options)

    return run


@pytest.fixture
def serve(shared_hub_folder, monkeypatch):
    """Starts a stand-in hub over folders of the test's own: `serve(*roots, rate=0.3)` gives its address."""
    monkeypatch.syspath_prepend(shared_hub_folder)
    library = pytest.importorskip("serve")
    with contextlib.ExitStack() as running:

        def start(*roots, rate=0.0, seed=0):
            faults = library.Faults(rate=rate, seed=seed)
            server = library.HubServer(library.Library([Path(root) for root in roots]), faults=faults)
            return running.enter_context(server.running()).endpoint

        yield start


SMALL = {"max_position_embeddings": 64, "pad_token_id": 0}
BERT = SMALL | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "bert": BERT,
    "roberta": BERT | {"type_vocab_size": 1, "pad_token_id": 1},
    "albert": BERT | {"embedding_size": 16, "classifier_dropout_prob": 0.0},
    "distilbert": SMALL | {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Makes a checkpoint with seeded weights and the demo tokenizer: `tiny("albert", head="…")` gives its folder."""

    def make(architecture="bert", *, head=None, seed=0, **config):
        import torch
        import transformers

        from bertbench.models.architecture import HEADS
        from bertbench.models.demo_tokenizer import build_tokenizer
        from bertbench.models.loading import quiet

        tokenizer = build_tokenizer()
        values = CONFIGS[architecture] | {"vocab_size": len(tokenizer)} | config
        folder = tmp_path_factory.mktemp(architecture)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            auto = getattr(transformers, HEADS[head])
            auto.from_config(transformers.AutoConfig.for_model(architecture, **values)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def edit_weights():
    """Changes a checkpoint's tensors in place: `edit_weights(folder, lambda tensors: tensors.pop("…"))`."""

    def edit(folder, change):
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


@pytest.fixture(scope="module")
def one_thread():
    """Small models on one thread: several would only wait for each other where the machine is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
