"""What a stranger's checkpoint, data or hub may hold, at the level of the user's command: nothing runs, nothing leaks, one line says why."""

import contextlib
import http.server
import json
import os
import pickle
import struct
import threading

import pytest
import torch

from bertbench import cli
from bertbench.errors import CheckpointError
from bertbench.models.loading import open_tokenizer
from tests.models.test_hub import COMMIT, Handler

SECRETS = ("hunter2", "hf_secretsecret")


class Bomb:
    """A pickle that leaves a file where it is loaded."""

    def __reduce__(self):
        """Called by whoever loads it."""
        return (os.system, ("touch ran",))


@pytest.fixture
def checkpoint(tiny, tmp_path, monkeypatch):
    """The folder of a small fine-tuned BERT, of which tests change one thing; a file 'ran' would show that code ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tiny("bert", head="sequence-classification", num_hidden_layers=1, max_position_embeddings=128)


def changed(path, **values):
    """Write other values into a JSON file."""
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


def with_code(folder):
    """Put Python and a template that never ends beside the weights."""
    (folder / "evil.py").write_text("open('ran', 'w').close()\n")
    (folder / "chat_template.jinja").write_text("{% for i in range(10**12) %}{{ i }}{% endfor %}")


def evaluated(checkpoint, capsys):
    """The exit code and all output of evaluating the checkpoint on 8 examples."""
    words = [
        "run",
        "--task",
        "demo-sentiment",
        "--models",
        str(checkpoint),
        "--only",
        "quality",
        "--eval-samples",
        "8",
        "--threads",
        "1",
    ]
    code = cli.main(words)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out + captured.err


def pickled(folder):
    """Weights in a plain pickle that runs a command."""
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as stream:
        pickle.dump({"bert.embeddings.word_embeddings.weight": Bomb()}, stream)


def pickled_by_torch(folder):
    """The same as torch writes it."""
    (folder / "model.safetensors").unlink()
    torch.save({"bert.embeddings.word_embeddings.weight": Bomb()}, folder / "pytorch_model.bin")


def shards_elsewhere(folder):
    """An index that names a file of another folder."""
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": "../../x.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def lying_header(folder):
    """Weights whose header promises terabytes."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def endless_header(folder):
    """Weights whose header would never end."""
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


REFUSED = {
    "pickle with code": pickled,
    "torch's pickle with code": pickled_by_torch,
    "shards elsewhere": shards_elsewhere,
    "lying header": lying_header,
    "endless header": endless_header,
    "hidden size of a billion": lambda folder: changed(folder / "config.json", hidden_size=10**9),
    "a million layers": lambda folder: changed(folder / "config.json", num_hidden_layers=10**6),
    "words beyond count": lambda folder: changed(folder / "config.json", vocab_size=10**12),
    "architecture of its own": lambda folder: changed(
        folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    ),
    "tokenizer bomb": lambda folder: (folder / "tokenizer.json").write_text("[" * 10**6),
    "endless word list": lambda folder: os.truncate(folder / "tokenizer.json", 2**40),
    "endless configuration": lambda folder: os.truncate(folder / "config.json", 2**40),
}  # fmt: skip


@pytest.mark.parametrize("spoil", REFUSED.values(), ids=REFUSED)
def test_checkpoints_that_would_run_or_fill_the_memory_are_refused(checkpoint, capsys, tmp_path, spoil):
    """Pickled code, code of an architecture's own, files elsewhere and absurd sizes: refused, before anything is built."""
    with_code(checkpoint)
    spoil(checkpoint)
    code, told = evaluated(checkpoint, capsys)
    assert code in {1, 2, 4}, told
    assert not (tmp_path / "ran").exists()


CODE_IN_TOKENIZER = {
    "class by auto_map": {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}},
    "class of its own": {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]}},
    "class by path": {"tokenizer_class": "os.system"},
    "template that never ends": {"chat_template": "{% for i in range(10**12) %}{{ i }}{% endfor %}"},
    "template that reads files": {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}{% include '/etc/passwd' %}"},
    "template with an error": {"chat_template": "{% if %}"},
    "template that is none": {"chat_template": 5},
}  # fmt: skip


@pytest.mark.parametrize("settings", CODE_IN_TOKENIZER.values(), ids=CODE_IN_TOKENIZER)
def test_no_code_or_template_of_a_tokenizer_is_run(checkpoint, tmp_path, settings):
    """The library's own tokenizer is taken, or an error says why not; templates of chats are never asked."""
    with_code(checkpoint)
    changed(checkpoint / "tokenizer_config.json", **settings)
    with contextlib.suppress(CheckpointError):
        assert type(open_tokenizer(checkpoint, "mine")).__module__.startswith("transformers.")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_checkpoint_with_code_beside_it_runs_none_of_it(checkpoint, capsys, tmp_path):
    """Code of a known architecture and of its tokenizer is passed over, and the checkpoint is evaluated as what it says it is."""
    with_code(checkpoint)
    auto = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSequenceClassification"), "evil.Evil")
    changed(checkpoint / "config.json", auto_map=auto)
    changed(checkpoint / "tokenizer_config.json", **CODE_IN_TOKENIZER["class by auto_map"])
    code, told = evaluated(checkpoint, capsys)
    assert code == 0, told
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def hub_of(monkeypatch):
    """A hub at an address with name and password that has one model's files: `hub_of(folder, fault)`."""
    servers = []

    def start(folder, fault=lambda *_: None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.fault, server.requests = fault, []
        server.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://user:hunter2@127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def leaks(folder, *texts):
    """The files below a folder, and the texts, that hold a secret."""
    files = [
        path for path in folder.rglob("*") if path.is_file() and any(s.encode() in path.read_bytes() for s in SECRETS)
    ]
    return [*files, *(text for text in texts if any(secret in text for secret in SECRETS))]


FAULTS = {"served": lambda *_: None, "refused": lambda *_: (401, "RepoNotFound")}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_neither_token_nor_password_is_written_anywhere(bench, tiny, hub_of, tmp_path, name):
    """HF_TOKEN and the password in HF_ENDPOINT stand in no record, report or message, whatever the hub answers."""
    folder = tiny("bert", head="sequence-classification", num_hidden_layers=1, max_position_embeddings=128)
    endpoint = hub_of(folder, FAULTS[name])
    done = bench(
        "run", "--task", "demo-sentiment", "--models", "org/model", "--only", "size,quality", "--eval-samples", "8", "--threads", "1",
        "--output", "x.html", cwd=tmp_path, endpoint=endpoint, HF_TOKEN="hf_secretsecret",
    )  # fmt: skip
    assert done.code == (0 if name == "served" else 2), done.stderr
    assert leaks(tmp_path, done.stdout, done.stderr) == []
    if name == "served":
        (record,) = (path for path in tmp_path.rglob("*-size-*.json"))
        assert json.loads(record.read_text())["revision"] == COMMIT


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_told_without_its_password(bench, tmp_path):
    """Random weights' reason names the address alone, on stderr and in records."""
    done = bench(
        "compare", "--models", "bert", "--only", "size", cwd=tmp_path, endpoint="http://user:hunter2@127.0.0.1:9", HF_TOKEN="hf_secretsecret",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert "the hub at http://127.0.0.1:9 cannot be reached" in done.stderr
    assert leaks(tmp_path, done.stdout, done.stderr) == []
