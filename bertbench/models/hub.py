"""The one door to the model hub: probed once, downloads retried, everything else read from local folders.

Reachability is found out with a single request before any hub library is loaded. If it fails, the libraries are put
into offline mode, so that nothing waits for retries; what is cached is still used. Nothing that is downloaded is
executed: configurations, word lists and weights only, and the code of a metric that the user has allowed by its name.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from bertbench.errors import CheckpointError, HubError, first_line, without_credentials
from bertbench.models.checkpoints import WEIGHT_FILES, Snapshot, local_snapshot, remove_forged, weight_files
from bertbench.specs.models import ModelSpec

T = TypeVar("T")
State = Literal["online", "offline", "unreachable"]

DEFAULT_ENDPOINT = "https://huggingface.co"
# Of the five seconds within which a command says that there is no hub; starting takes up to two on a busy machine.
PROBE_SECONDS = 2.5
ATTEMPTS = 9  # 20 s of waiting between them in all
LASTING_S = 45.0  # of failures in a row; with the libraries' own tries trouble is said within a minute
OWN_TRIES_S = (
    25.0  # how long the hub library tries one request before it raises; what took longer has got something done
)
RETRIED_STATUS = frozenset({408, 429, 500, 502, 503, 504})
# Surely valid: the hub's library tells of others, and is slow to load.
PLAIN_ID = re.compile(r"(?!.*\.git$)(?=.{1,96}$)(?:\w+(?:[.-]\w+)*/)?\w+(?:[.-]\w+)*", re.ASCII)
NOT_WRITABLE = frozenset({errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT})
# Configuration and word lists, at the top of the repository.
SIDE_FILES = re.compile(r"^(?!.*training_args)[^/]+\.(json|txt|model)$")


def endpoint() -> str:
    """Return the hub's address: $HF_ENDPOINT without a user's name and password, else the public one."""
    return without_credentials(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


@lru_cache(maxsize=1)
def state() -> State:
    """Find out, once a process, whether the hub is 'online', 'offline' (by HF_HUB_OFFLINE) or 'unreachable'.

    Takes at most PROBE_SECONDS, and puts the hub libraries into offline mode unless online.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        _go_offline()
        return "offline"
    if _answers(endpoint()):
        return "online"
    _go_offline()
    return "unreachable"


def _answers(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Tell whether anything at all answers, be it a redirection; a thread, since a name server may hang beyond the socket's limit."""
    import http.client  # slow, and only who asks the hub needs them
    import urllib.error
    import urllib.request

    class Staying(urllib.request.HTTPRedirectHandler):
        """Follows no redirection: that of a slow hub would take as long again."""

        def redirect_request(self, *_: Any) -> None:
            """Ask nobody else."""

    answered: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "bertbench"})  # noqa: S310
            urllib.request.build_opener(Staying).open(request, timeout=seconds).close()  # the user's own endpoint
            answered.append(True)
        except urllib.error.HTTPError:  # a refusal is an answer
            answered.append(True)
        except (OSError, ValueError, http.client.HTTPException):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answered)


def _go_offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    for module, name in (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("datasets.config", "HF_HUB_OFFLINE")):
        if module in sys.modules:  # read once at import: too late for the environment
            setattr(sys.modules[module], name, True)


def quiet_libraries() -> None:
    """Set what the hub libraries read when they are imported; what the user has set stays."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its warnings repeat addresses, passwords included
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # would ask the hub in a background thread
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not progress_bars_wanted():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def progress_bars_wanted() -> bool:
    """Tell whether to draw progress bars: they are for terminals, and a log gets plain lines."""
    return sys.stderr.isatty()


def fetch(checkpoint: str, revision: str | None = None, *, weights: bool = True) -> Snapshot:
    """Fetch the files of a checkpoint on the hub, from the cache if they are there.

    Raises:
        HubError: refused, not found, or failing in spite of retries; offline and not cached.
        CheckpointError: there are no weights in a format that can be loaded safely.
    """
    if state() != "online":
        return _cached(checkpoint, revision, weights=weights)
    info = retrying(f"model {checkpoint}", lambda: api().model_info(checkpoint, revision=revision))
    names = [sibling.rfilename for sibling in info.siblings or []]
    wanted = [name for name in names if SIDE_FILES.match(name)]
    if weights:
        wanted += _weight_names(checkpoint, names)
    folder = retrying(f"model {checkpoint}", lambda: _download(checkpoint, revision, sorted(set(wanted))))
    return _snapshot(checkpoint, folder, folder.name, weights=weights)


def fetch_metric(name: str) -> Path:
    """Fetch the Python files of a metric on the hub, plain files beside the cache; what lies there is taken where there is no hub.

    Raises:
        HubError: refused, not found, or failing in spite of retries; offline and not fetched before.
    """
    from huggingface_hub import constants, snapshot_download

    folder = Path(constants.HF_HOME) / "bertbench-metrics" / name
    if state() != "online":
        if folder.is_dir():
            return folder
        raise HubError(f"metric {name}: there is no hub, and it was not fetched before", "fetch it with a hub first")
    retrying(
        f"metric {name}",
        lambda: snapshot_download(name, repo_type="space", allow_patterns=["*.py"], local_dir=folder),
    )
    return folder


def _weight_names(checkpoint: str, names: list[str]) -> list[str]:
    """Choose the weight files to download: safetensors before pickles, with all shards."""
    for first in WEIGHT_FILES:
        if first in names:
            stem, _, _ = first.partition(".")
            ending = ".safetensors" if ".safetensors" in first else ".bin"
            shards = [name for name in names if re.fullmatch(rf"{stem}-\d+-of-\d+{re.escape(ending)}", name)]
            return [first, *(shards if first.endswith(".index.json") else [])]
    raise CheckpointError(
        f"model {checkpoint}: has no model.safetensors or pytorch_model.bin", "choose a checkpoint with PyTorch weights"
    )


def _download(checkpoint: str, revision: str | None, files: list[str]) -> Path:
    from huggingface_hub import constants, snapshot_download

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{checkpoint.replace('/', '--')}" / "blobs"
    before = {path.name for path in blobs.glob("*")}
    # By its name, not by the commit: the cache then knows the revision when offline.
    folder = Path(snapshot_download(checkpoint, revision=revision, allow_patterns=files))
    forged = remove_forged([folder / name for name in files], before)
    if forged is not None:
        raise HubError(
            f"model {checkpoint}: {forged} is not what the hub announced (its sha256 is another)",
            "try again; if it stays so, the hub or what lies on the way to it is not to be trusted",
        )
    return folder


def _cached(checkpoint: str, revision: str | None, *, weights: bool) -> Snapshot:
    from huggingface_hub import constants  # quick, unlike what follows

    why = "the hub cannot be reached" if state() == "unreachable" else "HF_HUB_OFFLINE is set"
    nothing = HubError(
        f"model {checkpoint}: not cached, and {why}", "run once with a connection, or give a local folder"
    )
    kept = Path(constants.HF_HUB_CACHE) / f"models--{checkpoint.replace('/', '--')}"
    if PLAIN_ID.fullmatch(checkpoint) and not kept.is_dir():
        raise nothing
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # Of all files only some were fetched, and the library calls that incomplete unless told which ones matter.
        snapshot = snapshot_download(
            checkpoint, revision=revision, local_files_only=True, allow_patterns=["config.json"]
        )
    except HFValidationError:
        raise HubError(
            f"model '{checkpoint}': not a valid hub id", "ids look like google-bert/bert-base-uncased"
        ) from None
    except (LocalEntryNotFoundError, OSError):
        raise nothing from None
    folder = Path(snapshot)
    if weights and not any((folder / name).is_file() for name in WEIGHT_FILES):
        raise HubError(
            f"model {checkpoint}: its weights are not cached, and {why}",
            "run once with a connection, or give a local folder",
        )
    return _snapshot(checkpoint, folder, folder.name, weights=weights)


def _snapshot(checkpoint: str, folder: Path, commit: str | None, *, weights: bool) -> Snapshot:
    return Snapshot(folder, commit, weight_files(folder, checkpoint) if weights else ())


def fetch_config(spec: ModelSpec) -> Path:
    """Return a local folder with the config.json of a model given by folder or hub id."""
    return locate(spec, weights=False).folder


def locate(spec: ModelSpec, *, weights: bool = True) -> Snapshot:
    """Find the checkpoint of `spec`: a local folder if there is one of that name, else from the hub.

    Raises:
        HubError, CheckpointError: it is absent, out of reach or damaged.
    """
    if spec.checkpoint is None:
        raise CheckpointError(
            f"model {spec.name}: has no checkpoint, only an architecture", "it can be fine-tuned from random weights"
        )
    folder = Path(spec.checkpoint).expanduser()
    if folder.is_dir():
        return local_snapshot(folder, weights=weights)
    return fetch(spec.checkpoint, spec.revision, weights=weights)


def retrying(
    what: str,
    action: Callable[[], T],
    *,
    sleep: Callable[[float], None] | None = None,
    now: Callable[[], float] = time.monotonic,
) -> T:
    """Call `action` until it succeeds, waiting longer each time; give up at once where waiting cannot help.

    Raises:
        HubError: the hub refused, or kept failing.
    """
    quiet_libraries()
    failing_since = None
    for attempt in range(ATTEMPTS):
        began = now()
        try:
            return action()
        except Exception as error:
            if not _is_passing(error):
                raise _explained(what, error) from error
            failed = now()
            failing_since = failed if failing_since is None else failing_since
            took = failed - began if _is_silence(error) else min(failed - began, OWN_TRIES_S)
            if attempt == ATTEMPTS - 1 or failed - failing_since + took > LASTING_S:  # the next would take as long
                raise HubError(
                    f"{what}: the hub at {endpoint()} keeps failing ({_brief(error)})",
                    "try again later; what is finished is kept",
                ) from error
            (sleep or time.sleep)(min(0.25 * 2**attempt, 4.0))
    raise AssertionError("unreachable")


def _is_passing(error: BaseException) -> bool:
    """Tell whether a fault may be gone in a moment: 503 and the like, cut connections, time-outs."""
    status = status_of(error)
    if status is not None:
        return status in RETRIED_STATUS
    if any(isinstance(link, OSError) and link.errno in NOT_WRITABLE for link in _chain(error)):
        return False  # a data set that could not be written looks like one that could not be read
    # By their names, so that none of these libraries is imported to ask.
    passing = {"FileMetadataError", "LocalEntryNotFoundError", "IncompleteSnapshotError", "DatasetGenerationError"}
    return bool(
        _kinds(error)
        & {
            *passing,
            "ConnectionError",
            "TimeoutError",
            "TransportError",
            "RequestException",
            "ProtocolError",
            "IncompleteRead",
        }
    ) or ("Consistency check failed" in str(error))  # a download that was cut short


def _is_silence(error: BaseException) -> bool:
    """Tell whether nobody answered in time."""
    return bool(_kinds(error) & {"TimeoutError", "TimeoutException"})


def _kinds(error: BaseException) -> set[str]:
    """Name the classes of an error and of what led to it."""
    return {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}


def _chain(error: BaseException) -> list[BaseException]:
    errors: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in errors:
        errors.append(link)
        link = link.__cause__ or link.__context__
    return errors


def status_of(error: BaseException) -> int | None:
    """Return what the hub answered, as an error or what led to it says; None where it did not."""
    for link in _chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _explained(what: str, error: Exception) -> Exception:
    """Return the error as one clear line, or itself if it is not the hub's."""
    status, kind = status_of(error), type(error).__name__
    if status in {401, 403} or kind == "GatedRepoError":
        return HubError(
            f"{what}: not found, or not open to you (the hub answered {status})",
            "check the id; for a private or gated one log in with `hf auth login`",
        )
    if kind == "RevisionNotFoundError":
        return HubError(f"{what}: no such revision (the hub answered {status})", "check 'revision'")
    if status is not None:
        missing = status == 404
        answer = "not found (the hub answered 404)" if missing else f"the hub answered {status}"
        return HubError(f"{what}: {answer}", "check the id" if missing else "try again later")
    if kind == "HFValidationError":
        return HubError(f"{what}: not a valid hub id", "ids look like google-bert/bert-base-uncased")
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in NOT_WRITABLE:
            reason = link.strerror or str(link)
            return HubError(f"{what}: cannot be stored in the cache ({reason})", "make room, or set HF_HOME")
    return error


def _brief(error: BaseException) -> str:
    status = status_of(error)
    kind, line = type(error).__name__, first_line(error, 120)
    return f"status {status}" if status else kind if line == kind else f"{kind}: {line}"


@lru_cache(maxsize=1)
def api() -> Any:
    """Return the hub library's client, which logs in by its own means."""
    from huggingface_hub import HfApi

    return HfApi()
