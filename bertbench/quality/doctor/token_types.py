"""Are the two texts of a pair told apart? ALBERT uses token types, and its tokenizer gives none unless asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.models.loading import uses_token_types
from bertbench.quality.doctor._verdict import Verdict, ok, problem

if TYPE_CHECKING:
    from bertbench.quality.doctor._subjects import Pair


def pairs(subject: Pair) -> Verdict | None:
    """Whether a model that uses token types gets them, by bertbench and by default."""
    if len(subject.task.inputs) != 2:
        return None
    if not uses_token_types(subject.config):
        return ok("the model has none: a separator tells the texts apart")
    types = [set(row.get("token_type_ids", ())) for row in subject.features.rows]
    if not any(1 in seen for seen in types):
        found = "bertbench feeds none" if not any(types) else "the second text has type 0, as the first"
        return problem(found, "the model uses them: take the tokenizer that belongs to it")
    if "token_type_ids" not in subject.ready.tokenizer("one", "two"):
        return ok(
            "bertbench feeds them; the tokenizer by default gives none",
            "pass return_token_type_ids=True where you tokenize yourself",
        )
    return ok("bertbench feeds them, and so does the tokenizer by default")
