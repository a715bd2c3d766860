"""A task with its examples, as a session uses them: cut as the options say, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass

from bertbench.errors import DatasetError, HubError, UnavailableError
from bertbench.models import hub
from bertbench.session.request import Request
from bertbench.specs.tasks import TaskSpec
from bertbench.tasks import data
from bertbench.tasks.data import Examples


@dataclass(frozen=True)
class TaskData:
    """A task with its examples, cut as the options say; `absent` says why there are none.

    `no_train` is why there are none to train on, which matters only to models that are fine-tuned.
    """

    task: TaskSpec
    train: Examples | None
    splits: tuple[Examples, ...]
    absent: str | None = None
    no_train: UnavailableError | None = None

    @property
    def notes(self) -> list[str]:
        """What loading changed or left out, split by split."""
        return [note for split in ((self.train,) if self.train else ()) + self.splits for note in split.notes]


def load_data(task: TaskSpec, request: Request) -> TaskData:
    """The examples of a task. Where the request may do without (`may_be_random`), an unreachable hub is no error.

    Raises:
        DatasetError, HubError: those to evaluate on cannot be had, or are not what the task says.
    """
    options = request.options
    try:
        splits = tuple(
            data.load(task, split, options.data_dir).take(options.eval_samples) for split in task.evaluation_splits
        )
    except (DatasetError, HubError) as error:
        on_hub = task.dataset.path is not None and options.data_dir is None
        if request.may_be_random and on_hub and hub.state() != "online":
            return TaskData(task, None, (), error.message)
        raise
    try:
        train = data.load(task, task.train_split, options.data_dir).take(
            options.train_samples or task.training.train_samples
        )
    except (DatasetError, HubError) as error:
        return TaskData(task, None, splits, no_train=error)
    return TaskData(task, train, splits)
