"""The door to the hub: one probe, retries where waiting helps, one clear line where it does not."""

import contextlib
import hashlib
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from bertbench.errors import CheckpointError, HubError
from bertbench.models import hub
from tests.factories import model_spec

COMMIT = "c" * 40
HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "vocab.txt": b"[PAD]\n",
    "README.md": b"not wanted",
    "training_args.json": b"{}",
    "model.safetensors": struct.pack("<Q", len(HEADER)) + HEADER + b"\0" * 8,
    "pytorch_model.bin": b"not wanted either",
}
WANTED = ["config.json", "model.safetensors", "vocab.txt"]
FETCH = """
import sys, time
waits = []
time.sleep = waits.append
from bertbench.models import hub
from bertbench.errors import BertBenchError
try:
    snapshot = hub.fetch("org/model", weights={weights})
    print("ok", snapshot.commit, *sorted(path.name for path in snapshot.folder.iterdir()))
except BertBenchError as error:
    print(type(error).__name__, error)
assert not {{"torch", "transformers"}} & set(sys.modules)
"""


FORGED = {"other bytes": lambda content: content[:-1] + b"\1", "more bytes": lambda content: content + b"\0" * 8}


class Handler(http.server.BaseHTTPRequestHandler):
    """Just enough of the hub's interface for one model; `server.fault` may spoil an answer."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self):
        """A model's description, a file of it, or 404."""
        self.server.requests.append(self.path)
        fault = self.server.fault(self.command, self.path, self.server.requests.count(self.path))
        name = self.path.rsplit("/", 1)[-1]
        if isinstance(fault, tuple):
            self.answer(fault[0], b"{}", {"X-Error-Code": fault[1]} if fault[1] else {})
        elif "/tree/" in self.path:
            entries = [{"type": "file", "path": path, "size": len(body)} for path, body in self.server.files.items()]
            self.answer(200, json.dumps([entry | {"oid": "0" * 40} for entry in entries]).encode())
        elif self.path.startswith("/api/models/org/model"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self.answer(200, json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode())
        elif f"/resolve/{COMMIT}/" in self.path and name in self.server.files:
            content = self.server.files[name]
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            if fault in FORGED and self.command == "GET":
                content = FORGED[fault](content)
            self.answer(200, content, headers, cut=fault == "cut")
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def answer(self, status, body, headers=None, *, cut=False):
        """Send it; `cut` closes the connection half-way."""
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut

    def log_message(self, *_):
        """Nothing: stderr belongs to the test."""


@pytest.fixture
def small_hub():
    """Starts a hub with one model: `small_hub(fault)`, where fault(method, path, how often asked) spoils an answer."""
    with contextlib.ExitStack() as running:

        def start(fault=lambda *_: None, files=None):
            server = running.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            server.fault, server.files, server.requests = fault, files or FILES, []
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            running.callback(server.shutdown)
            server.endpoint = f"http://127.0.0.1:{server.server_port}"
            return server

        yield start


@pytest.fixture
def fetch(python):
    """What fetching the model in a process of its own prints."""

    def run(server=None, *, weights=True, **options):
        done = python(FETCH.format(weights=weights), endpoint=server and server.endpoint, **options)
        assert done.code == 0, done.stderr
        assert done.stdout.count("\n") == 1
        return done.stdout.strip()

    return run


def test_only_what_is_needed_is_fetched_with_the_resolved_commit(fetch, small_hub):
    """Configuration, vocabulary and safetensors come; pickles, training arguments and documents stay."""
    assert fetch(small_hub()) == f"ok {COMMIT} {' '.join(WANTED)}"


def test_cached_model_needs_no_hub(fetch, small_hub, tmp_path):
    """With a warm cache neither HF_HUB_OFFLINE=1 nor an unreachable hub is an obstacle, and the commit is known."""
    online = fetch(small_hub(), home=tmp_path)
    assert fetch(home=tmp_path, HF_HUB_OFFLINE="1") == online
    assert fetch(home=tmp_path) == online


def test_cache_without_weights_is_said_to_be_that(fetch, small_hub, tmp_path):
    """Where only a tokenizer is cached, the weights' absence is the hub's, not a broken checkpoint."""
    assert fetch(small_hub(), weights=False, home=tmp_path).startswith("ok")
    answer = fetch(home=tmp_path)
    assert answer.startswith("HubError model org/model: its weights are not cached, and the hub cannot be reached.")


@pytest.mark.parametrize(
    ("environment", "why"), [({}, "the hub cannot be reached"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set")]
)
def test_nothing_cached_is_one_clear_line(fetch, environment, why):
    """Without hub and cache the reason is said, and what can be done."""
    answer = fetch(**environment)
    assert answer.startswith(f"HubError model org/model: not cached, and {why}. Run once with a connection")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((401, "RepoNotFound"), "not found, or not open to you (the hub answered 401). Check the id"),
        ((401, None), "not found, or not open to you (the hub answered 401). Check the id"),
        ((403, "GatedRepo"), "not found, or not open to you (the hub answered 403). Check the id"),
        ((404, "RepoNotFound"), "not found (the hub answered 404). Check the id"),
        ((404, "RevisionNotFound"), "no such revision (the hub answered 404). Check 'revision'"),
    ],
)
def test_refusal_is_not_retried(fetch, small_hub, fault, message):
    """401, 403 and 404 are said in one line after a single request; what to do follows."""
    server = small_hub(lambda *_: fault)
    assert fetch(server).startswith(f"HubError model org/model: {message}")
    assert len([path for path in server.requests if path.startswith("/api")]) == 1


@pytest.mark.parametrize("part", ["/api/models", "vocab.txt", "safetensors"])
def test_trouble_that_lasts_ends_in_one_clear_line(fetch, small_hub, part):
    """503 forever, for the description or any file, is given up after several tries."""
    server = small_hub(lambda _, path, __: (503, None) if part in path else None)
    answer = fetch(server)
    assert answer.startswith(f"HubError model org/model: the hub at {server.endpoint} keeps failing (")
    assert answer.endswith("Try again later; what is finished is kept")
    assert len([path for path in server.requests if part in path]) >= hub.ATTEMPTS


def test_connection_cut_for_ever_ends_in_one_clear_line(fetch, small_hub):
    """A download that always breaks off in the middle is given up, too."""
    server = small_hub(lambda method, path, _: "cut" if method == "GET" and "safetensors" in path else None)
    assert "keeps failing" in fetch(server)


def test_passing_trouble_is_survived(fetch, small_hub):
    """Two 503 for everything and then a cut in the middle of the weights leave a whole checkpoint."""

    def fault(method, path, count):
        if path == "/":
            return None
        if count <= 2:
            return (503, None)
        return "cut" if method == "GET" and "safetensors" in path and count <= 5 else None

    assert fetch(small_hub(fault)) == f"ok {COMMIT} {' '.join(WANTED)}"


def test_model_without_loadable_weights_is_refused(fetch, small_hub):
    """A checkpoint with neither safetensors nor a PyTorch pickle is said to be that."""
    server = small_hub(files={"config.json": b"{}", "tf_model.h5": b"x"})
    assert "CheckpointError model org/model: has no model.safetensors or pytorch_model.bin" in fetch(server)


def test_file_damaged_on_the_hub_is_noticed(fetch, small_hub):
    """Weights that are cut off on the hub itself are a damaged checkpoint."""
    server = small_hub(files=FILES | {"model.safetensors": FILES["model.safetensors"][:-4]})
    assert "CheckpointError checkpoint org/model: model.safetensors is damaged or cut off" in fetch(server)


def test_other_content_than_announced_is_refused_and_not_kept(fetch, small_hub, tmp_path):
    """Weights whose sha256 is not the one by which the hub names them never count as those, nor does the cache keep them."""
    server = small_hub(lambda method, path, _: "other bytes" if method == "GET" and "safetensors" in path else None)
    for _ in range(2):
        answer = fetch(server, home=tmp_path)
        assert answer.startswith("HubError model org/model: model.safetensors is not what the hub announced")
    assert "its weights are not cached" in fetch(home=tmp_path)
    assert fetch(small_hub(), home=tmp_path).startswith("ok")


def test_another_size_than_announced_is_refused(fetch, small_hub, tmp_path):
    """A file that is longer than the hub said is never taken for whole."""
    server = small_hub(lambda method, path, _: "more bytes" if method == "GET" and "safetensors" in path else None)
    assert fetch(server, home=tmp_path).startswith("HubError model org/model: ")


def test_what_logs_in_is_in_no_message(python, small_hub):
    """Name and password in HF_ENDPOINT, and the token, are told by no error nor by the libraries; the hub behind them is found."""
    server = small_hub(lambda _, path, __: (503, None) if "vocab" in path else None)
    endpoint = server.endpoint.replace("//", "//user:hunter2@")
    done = python(FETCH.format(weights=True), endpoint=endpoint, HF_TOKEN="hf_secretsecret")
    assert "keeps failing" in done.stdout
    assert not any(secret in done.stdout + done.stderr for secret in ("user:", "hunter2", "hf_secret"))


@pytest.mark.shared
def test_failing_stand_in_hub_is_survived(python, serve, shared_hub_folder):
    """With a fifth of all requests failing, a model's configuration and tokenizer still arrive whole."""
    code = FETCH.format(weights=False).replace("org/model", "google-bert/bert-base-uncased")
    done = python(code, endpoint=serve(shared_hub_folder, rate=0.2, seed=3))
    assert done.stdout.startswith("ok "), (done.stdout, done.stderr)
    assert "config.json" in done.stdout


def test_all_shards_are_fetched():
    """An index brings its shards and no others."""
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    names = ["model.safetensors.index.json", *shards, "model-00001-of-00002.bin", "other-00001-of-00002.safetensors"]
    assert hub._weight_names("m", names) == ["model.safetensors.index.json", *shards]
    assert hub._weight_names("m", ["pytorch_model.bin", "x"]) == ["pytorch_model.bin"]


def test_offline_mode_is_believed_without_a_probe(monkeypatch, small_hub):
    """HF_HUB_OFFLINE=1 asks nobody."""
    server = small_hub()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.state() == "offline"
    assert server.requests == []


def test_hub_is_asked_once_a_process(monkeypatch, small_hub):
    """The answer to the one probe is remembered."""
    server = small_hub()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    assert [hub.state(), hub.state()] == ["online", "online"]
    assert server.requests == ["/"]


def test_hub_out_of_reach_switches_offline_mode_on():
    """Where nobody answers, the libraries are told, so that none of them waits."""
    assert hub.state() == "unreachable"
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == "1"


def test_any_answer_is_an_answer(small_hub):
    """Also a 503 or 404 means that a hub is there."""
    assert hub._answers(small_hub(lambda *_: (503, None)).endpoint)
    assert hub._answers(small_hub().endpoint)


def test_redirection_is_an_answer_and_not_followed(small_hub):
    """Whoever redirects is there; where to would cost a slow hub's time again."""
    server = small_hub(lambda *_: (302, None))
    assert hub._answers(server.endpoint)
    assert len(server.requests) == 1


def test_slow_hub_is_waited_for(small_hub):
    """A hub that takes its time within the limit is there."""
    assert hub._answers(small_hub(lambda *_: time.sleep(0.3)).endpoint, 20)


@pytest.mark.parametrize(
    "checkpoint", ["org/a.git", "org/a--b", "org/a..b", "org/a.", "-org/a", "org/" + "a" * 100, "a b", "a/b/c", "org/ä"]
)
def test_ids_that_may_be_invalid_are_left_to_the_library(checkpoint):
    """Its word on them is another error than an empty cache."""
    assert not hub.PLAIN_ID.fullmatch(checkpoint)
    assert hub.PLAIN_ID.fullmatch("google-bert/bert_base.v1-uncased")


def test_closed_port_and_nonsense_are_no_answer():
    """A closed port, an address that is none, and a server that does not speak HTTP are unreachable."""
    assert not hub._answers(os.environ["HF_ENDPOINT"])
    assert not hub._answers("not an address")
    assert not hub._answers("http://127.0.0.1:1 2")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            with server.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"SSH-2.0-hello\r\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        assert not hub._answers(f"http://127.0.0.1:{server.getsockname()[1]}")
        greeter.join()


def test_silent_hub_is_given_up_in_time():
    """A hub that accepts and says nothing costs no more than the probe's time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        assert not hub._answers(f"http://127.0.0.1:{server.getsockname()[1]}", 0.3)
        assert time.monotonic() - started < 2


def test_probe_leaves_room_in_five_seconds():
    """The promise of five seconds includes more than the probe."""
    assert hub.PROBE_SECONDS <= 3


@pytest.fixture
def waits():
    """How long `retrying` would have waited, if given its `append` to sleep with."""
    return []


def failing(*errors):
    """An action that raises these errors one after the other, then gives 'done'."""
    left = list(errors)

    def action():
        if left:
            raise left.pop(0)
        return "done"

    return action


def answered(status):
    """An error as the hub library raises it for an HTTP status."""
    error = RuntimeError(f"status {status}")
    error.response = type("Response", (), {"status_code": status})()
    return error


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_status_is_waited_for_longer_each_time(waits, status):
    """Overload and time-outs are tried again, with growing pauses."""
    assert hub.retrying("model x", failing(*[answered(status)] * 5), sleep=waits.append) == "done"
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("error", "seconds", "calls"),
    [
        (answered(503), 24.0, 2),  # one request that the library itself has tried six times
        (answered(503), 600.0, 2),  # a long download that broke off goes on where it was
        (TimeoutError(), 83.0, 1),  # six time-outs
        (answered(503), 5.0, 7),  # a data set: many requests, of which now this, now that fails
    ],
)
def test_trouble_is_said_within_a_minute(error, seconds, calls):
    """However long the library itself tries, failures in a row end within 60 s, of which the next attempt is a part."""
    clock, begun = [0.0], []

    def action():
        begun.append(clock[0])
        clock[0] += seconds
        raise error

    with pytest.raises(HubError, match="keeps failing"):
        hub.retrying("model x", action, sleep=lambda wait: clock.append(clock.pop() + wait), now=lambda: clock[0])
    assert len(begun) == calls
    assert begun[-1] - seconds < 60


def test_status_hidden_in_a_cause_counts(waits):
    """The hub library wraps its errors: the status of the first cause decides."""
    outer = OSError("cannot find the file in the cache")
    outer.__cause__ = answered(404)
    with pytest.raises(HubError, match=r"not found \(the hub answered 404\)"):
        hub.retrying("model x", failing(outer), sleep=waits.append)
    assert waits == []


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError(), OSError("Consistency check failed")])
def test_broken_connection_is_retried(waits, error):
    """Connections that are reset, time out or deliver too little are tried again."""
    assert hub.retrying("model x", failing(error), sleep=waits.append) == "done"
    assert len(waits) == 1


def test_error_that_is_not_the_hubs_goes_through(waits):
    """A bug is neither retried nor explained away."""
    with pytest.raises(ZeroDivisionError):
        hub.retrying("model x", failing(ZeroDivisionError()), sleep=waits.append)
    assert waits == []


def test_full_disk_is_one_clear_line(waits):
    """A cache that cannot be written is said at once, with what to do; waiting would not help."""
    with pytest.raises(HubError, match=r"model x: cannot be stored in the cache \(No space left on device\)") as caught:
        hub.retrying("model x", failing(OSError(28, "No space left on device")), sleep=waits.append)
    assert "HF_HOME" in caught.value.hint
    assert waits == []


def test_full_disk_behind_another_error_is_told_too(waits):
    """A data set that could not be prepared for want of space is not retried; the cause is said."""

    class DatasetGenerationError(Exception):
        """Called as in the library, which wraps everything into it."""

    error = DatasetGenerationError("An error occurred")
    error.__cause__ = OSError(28, "No space left on device")
    with pytest.raises(HubError, match="No space left on device"):
        hub.retrying("data set x", failing(error), sleep=waits.append)
    assert waits == []


def test_other_status_is_named(waits):
    """A status that nobody expects is said as it is."""
    with pytest.raises(HubError, match="model x: the hub answered 418"):
        hub.retrying("model x", failing(answered(418)), sleep=waits.append)


@pytest.mark.usefixtures("hub_not_asked")
def test_local_folder_is_taken_before_the_hub(tmp_path):
    """A folder of the checkpoint's name is used without asking anybody."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(FILES[name])
    snapshot = hub.locate(model_spec(checkpoint=str(tmp_path)))
    assert (snapshot.folder, snapshot.commit) == (tmp_path, None)
    assert hub.fetch_config(model_spec(checkpoint=str(tmp_path))) == tmp_path


def test_architecture_without_checkpoint_cannot_be_located():
    """A model that has only a config is said to have no checkpoint."""
    with pytest.raises(CheckpointError, match="model bert: has no checkpoint"):
        hub.locate(model_spec(checkpoint=None, config={"vocab_size": 5}))


def test_offline_id_that_cannot_be_one_is_said_to_be_that():
    """An id that the hub could not have is not looked for in the cache."""
    with pytest.raises(HubError, match="not a valid hub id"):
        hub.fetch("a/b/c")


def test_hub_libraries_are_not_loaded_by_the_import():
    """Importing the module loads no library, so that settings can still be made."""
    code = "import sys; from bertbench.models import hub; print({'huggingface_hub', 'torch', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
