"""Files to the hub: a repository is made if there is none, and what is pushed appears in it by commits.

The hub's library logs in by its own means (HF_TOKEN, `hf auth login`); no token passes through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bertbench.errors import HubError, UsageError
from bertbench.models import hub
from bertbench.records.progress import Progress, silent

T = TypeVar("T")
Content = Path | bytes
FILES_A_COMMIT = 1_000
PAGE_OF_SPACE = "index.html"
_FORM = re.compile(r"hf://(?P<kind>datasets|spaces)/(?P<name>[^/\s]+/[^/\s]+)/?")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN, with a token that may write"


@dataclass(frozen=True)
class Target:
    """A repository of the hub: its kind, as the hub's library calls it, and OWNER/NAME."""

    kind: str
    name: str

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"{hub.endpoint()}/{self.kind}s/{self.name}"

    def __str__(self) -> str:
        return f"hf://{self.kind}s/{self.name}"


def parse_target(text: str, option: str, kinds: Collection[str] = ("datasets", "spaces")) -> Target:
    """Read what an option says about where to push.

    Raises:
        UsageError: it is no address of this form, or of another kind.
    """
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in kinds or not hub.PLAIN_ID.fullmatch(match["name"]):
        raise UsageError(f"{option} {text}: names no repository of the hub", f"write hf://{'|'.join(kinds)}/OWNER/NAME")
    return Target(match["kind"].removesuffix("s"), match["name"])


def check_ready(target: Target) -> None:
    """Find out, before any work, whether the hub answers and somebody is logged in.

    Raises:
        HubError: it cannot be reached, or there is no token.
    """
    state = hub.state()
    if state != "online":
        why = "HF_HUB_OFFLINE is set" if state == "offline" else f"the hub at {hub.endpoint()} cannot be reached"
        raise HubError(f"{target}: nothing is pushed, {why}", "push again with a connection; what is stored is kept")
    hub.quiet_libraries()
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"{target}: nobody is logged in", LOG_IN)


def push(
    target: Target,
    files: Mapping[str, Content],
    *,
    private: bool,
    message: str,
    card: bytes | None = None,
    progress: Progress = silent,
) -> str:
    """Push files by their names there, and return where people find them; `card` is its README if it has none.

    Raises:
        HubError: not allowed, no such owner, or failing in spite of retries; --private, and all can see it.
    """
    from huggingface_hub import CommitOperationAdd

    check_ready(target)
    api, where = hub.api(), {"repo_id": target.name, "repo_type": target.kind}
    space = {"space_sdk": "static"} if target.kind == "space" else {}
    _asking(target, lambda: api.create_repo(**where, **space, private=private or None, exist_ok=True))
    if private and not _asking(target, lambda: api.repo_info(**where)).private:
        raise HubError(
            f"{target}: is there and everybody can see it, so with --private nothing is pushed",
            "make it private on the hub, name another one, or leave out --private",
        )
    contents = dict(files)
    if card is not None and not _asking(target, lambda: api.file_exists(filename="README.md", **where)):
        contents["README.md"] = card
    names = sorted(contents)
    for start in range(0, len(names), FILES_A_COMMIT):
        group = names[start : start + FILES_A_COMMIT]

        def commit(group: list[str] = group) -> Any:
            operations = [CommitOperationAdd(name, _given(contents[name])) for name in group]
            return api.create_commit(**where, operations=operations, commit_message=message)

        progress("pushing files", start, len(names))
        _asking(target, commit)
    progress("pushing files", len(names), len(names))
    return target.url


def _given(content: Content) -> str | bytes:
    return str(content) if isinstance(content, Path) else content


def _asking(target: Target, action: Callable[[], T]) -> T:
    """Ask the hub, and say in one line what it refuses.

    Raises:
        HubError: it does.
    """
    try:
        return hub.retrying(str(target), action)
    except HubError as error:
        status = hub.status_of(error)
        if status == 401:
            raise HubError(f"{target}: the hub does not accept the token (it answered 401)", LOG_IN) from None
        if status == 403:
            raise HubError(
                f"{target}: you may not write there (the hub answered 403)", f"check the owner; {LOG_IN}"
            ) from None
        if status == 404:
            raise HubError(
                f"{target}: no such owner, or not open to you (the hub answered 404)", "check OWNER in the address"
            ) from None
        raise
