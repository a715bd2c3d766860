"""Students and their teachers among the models of a request: who comes first, and whether two go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from bertbench.errors import ConfigError

if TYPE_CHECKING:
    from bertbench.models.sources import Source
    from bertbench.specs.models import ModelSpec

T = TypeVar("T")


def teachers_first(things: Sequence[T], spec_of: Callable[[T], ModelSpec]) -> list[T]:
    """The same in their order, but students after their teachers.

    Raises:
        ConfigError: a model is, over others perhaps, its own teacher.
    """
    teachers = {spec_of(thing).name: spec.teacher for thing in things if (spec := spec_of(thing).distill)}

    def depth(name: str) -> int:
        seen = [name]
        while (teacher := teachers.get(seen[-1])) is not None:
            if teacher in seen:
                raise ConfigError(f"model {name}: is its own teacher ({' <- '.join([*seen, teacher])})", "name another")
            seen.append(teacher)
        return len(seen)

    return sorted(things, key=lambda thing: depth(spec_of(thing).name))


def check_pair(student: Source, teacher: Source) -> None:
    """Find out before any work whether one can learn from the other.

    Raises:
        ConfigError: the student cannot start from the teacher's layers, or has another vocabulary.
    """
    from bertbench.models.architecture import config_of
    from bertbench.models.students.weights import check

    spec, name = student.spec.distill, student.spec.name
    if spec is None:
        return
    if spec.start == "teacher":
        check(config_of(student.spec, student.folder), config_of(teacher.spec, teacher.folder), spec.layers, name)
    if str(student.tokenizer) != str(teacher.tokenizer):
        from bertbench.models.loading import open_tokenizer

        ours, theirs = (open_tokenizer(source.tokenizer, source.spec.name).get_vocab() for source in (student, teacher))
        if ours != theirs:
            raise ConfigError(
                f"model {name}: its vocabulary of {len(ours):,} tokens is not that of its teacher {teacher.spec.name} "
                f"({len(theirs):,})",
                "take a teacher that reads the same tokens",
            )
