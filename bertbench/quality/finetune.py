"""Fine-tuning on transformers' Trainer: batches of similar length, padded to their longest; never to the maximum."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import processes
from bertbench.errors import MeasurementError
from bertbench.models.checkpoints import MEMORY_SHARE
from bertbench.quality.features import TEACHER, Collator, Rows, is_learnable
from bertbench.quality.trainer import SECONDS_FILE, LengthGrouped, arguments, broken, make_plain, trainer_class, watcher
from bertbench.records.cautions import Caution, caution
from bertbench.records.environment import available_memory
from bertbench.records.progress import Progress, silent
from bertbench.specs.tasks import TrainingSpec
from bertbench.specs.text_files import read_object
from bertbench.speed.memory import training_bytes

if TYPE_CHECKING:
    from bertbench.quality.teaching import SoftTargets
    from bertbench.quality.work import Work
    from bertbench.tasks.kind import Features


@dataclass(frozen=True)
class TrainingRun:
    """How training went. `loss` is the mean over the last tenth of the steps, `seconds` the loop alone.

    `accumulation` is the number of micro-batches that a step's batch was taken in, for the reason `why_accumulated`;
    `left_out` that of examples without anything to learn.
    """

    seconds: float
    steps: int
    samples_seen: int
    loss: float
    padding_waste: float
    accumulation: int = 1
    why_accumulated: str | None = None
    warnings: tuple[Caution, ...] = field(default=())
    left_out: int = 0


def total_steps(samples: int, recipe: TrainingSpec) -> int:
    """Count the optimizer steps of a run over `samples` examples."""
    return max(1, math.ceil(math.ceil(samples / recipe.batch_size) * recipe.epochs))


def finetune(
    work: Work,
    model: Any,
    features: Features,
    *,
    pad: dict[str, int],
    progress: Progress = silent,
    each_epoch: Callable[[], None] | None = None,
    soft: SoftTargets | None = None,
    tools: Tools | None = None,
) -> TrainingRun:
    """Train `model` in place; features without a target are left out, and examples without any counted.

    Afterwards it computes in the format of its weights again, whatever it was trained in.

    Where a batch does not fit into the device's memory it is halved and gradients are accumulated, so that the effective
    batch stays; on a CPU, where the system kills instead, that is decided before by a forecast.

    Args:
        work: recipe, seed of data order and dropout, device, number format, deadline, and where the state is kept.
        model: with a head; moved to the device.
        features: rows, not padded, with targets.
        pad: what each key is padded with.
        progress: told after each step.
        each_epoch: called after each epoch but the last.
        soft: a teacher's answers, which the model learns too.
        tools: what is asked how much memory there is, and what trains; None: the real ones.

    Raises:
        MeasurementError: the loss stopped being finite, the deadline passed, nothing can be learnt, or not even one example
            fits.
    """
    import torch

    tools = tools or Tools()
    rows, left_out = _learnable(features, soft, work.label)
    batch_size = work.recipe.batch_size
    micro, why = _examples_at_once(model, features, batch_size, work.device, tools.free_memory)
    before = (
        {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        if work.device != "cpu"
        else {}
    )
    while True:
        attempt = Attempt(work, rows, micro, progress, each_epoch, soft)
        try:
            trained = tools.train(attempt, model, pad, why)
            return replace(trained, left_out=left_out, warnings=(*trained.warnings, *_left_out(left_out, features)))
        except torch.OutOfMemoryError:
            if micro == 1 or processes.world_size() > 1:  # several processes would have to agree on a smaller batch
                many = "one example" if micro == 1 else f"{micro} examples"
                raise MeasurementError(
                    f"{work.label}: out of memory with {many} a batch", "lower --max-length"
                ) from None
            micro = _part(batch_size, micro)
            why = f"{batch_size} examples at once were too many for the device's memory"
        finally:
            make_plain(model)
        model.zero_grad(set_to_none=True)
        model.load_state_dict(before)
        torch.cuda.empty_cache()


def _learnable(features: Features, soft: SoftTargets | None, label: str) -> tuple[list[dict[str, Any]], int]:
    """Collect rows with their targets, and count the examples that have none which the loss sees.

    Raises:
        MeasurementError: no example has one.
    """
    pairs = zip(features.rows, features.targets, strict=True)
    kept = [index for index, pair in enumerate(pairs) if is_learnable(*pair)]
    if not kept:
        raise MeasurementError(
            f"{label}: no training example has anything that gives a token", "check the training split"
        )
    answers = [{} if soft is None else {TEACHER: soft.answers[index]} for index in kept]
    rows = [features.rows[i] | features.targets[i] | answer for i, answer in zip(kept, answers, strict=True)]
    return rows, len(set(features.owners)) - len({features.owners[index] for index in kept})


def _left_out(count: int, features: Features) -> tuple[Caution, ...]:
    return (caution("left-out", count=count, examples=len(set(features.owners))),) if count else ()


@dataclass(frozen=True)
class Attempt:
    """One attempt at training with micro-batches of `micro` examples."""

    work: Work
    rows: list[dict[str, Any]]
    micro: int
    progress: Progress
    each_epoch: Callable[[], None] | None
    soft: SoftTargets | None

    def train(self, model: Any, pad: dict[str, int], why: str | None) -> TrainingRun:
        """Train, from the newest state where there is one."""
        work, together = self.work, self.micro * processes.world_size()
        accumulation = work.recipe.batch_size // together
        collator = Collator(pad, regression=work.task.is_regression)
        with tempfile.TemporaryDirectory(prefix="bertbench-trainer-") as scratch:
            output = work.state or Path(scratch)
            output.mkdir(parents=True, exist_ok=True)
            look = watcher(work.label, self.progress, work=work, each_epoch=self.each_epoch)
            trainer = self._trainer(model, output, accumulation, collator, look)
            earlier = newest_state(output)
            spent = _seconds_before(earlier)
            _meet()
            look.began = time.perf_counter() - spent
            trainer.train(resume_from_checkpoint=earlier)
            seconds = time.perf_counter() - look.began - look.paused
        steps, loss = int(trainer.state.global_step), _last_loss(trainer.state)
        if not math.isfinite(loss):
            raise broken(f"{work.label}: the loss is {loss}", work.state)
        samples, waste = collator.used(steps * accumulation)
        samples *= processes.world_size()
        if earlier:  # what was seen before the interruption went through another collator
            samples = round(len(self.rows) * work.recipe.epochs)
        cautions = _together(self.micro) if processes.world_size() > 1 else ()
        cautions += (caution("resumed", step=int(Path(earlier).name.rpartition("-")[2])),) if earlier else ()
        return TrainingRun(seconds, steps, samples, loss, waste, accumulation, why, cautions)

    def _trainer(self, model: Any, output: Path, accumulation: int, collator: Collator, look: Any) -> Any:
        """Build the Trainer of transformers for this attempt."""
        from transformers.trainer_callback import PrinterCallback

        work, lengths = self.work, [len(row["input_ids"]) for row in self.rows]
        order = LengthGrouped(lengths, self.micro * processes.world_size() * accumulation, work.order_seed)
        trainer = trainer_class(order, self.soft)(
            model=model,
            args=arguments(
                str(output), work.recipe, total_steps(len(self.rows), work.recipe), micro=self.micro,
                accumulation=accumulation, seed=work.order_seed, device=work.device, bf16=work.bf16_training,
            ),
            train_dataset=Rows(self.rows),
            data_collator=collator,
            callbacks=[look],
        )  # fmt: skip
        trainer.model_accepts_loss_kwargs = False  # each loss is its batch's mean, to be averaged over parts
        trainer.remove_callback(PrinterCallback)  # it would print to stdout
        return trainer


@dataclass(frozen=True)
class Tools:
    """What fine-tuning asks its surroundings for: bytes of memory that are free, and the training of an attempt."""

    free_memory: Callable[[], int] = available_memory
    train: Callable[[Attempt, Any, dict[str, int], str | None], TrainingRun] = Attempt.train


def _last_loss(state: Any) -> float:
    """Return the newest loss that was logged, or the mean of all where none was."""
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    return float(losses[-1]) if losses else float(state.log_history[-1]["train_loss"])


def newest_state(folder: Path) -> str | None:
    """Find the newest whole state of an interrupted run in `folder`; None if there is none.

    One that was cut off while it was written has no trainer_state.json, which Trainer writes last, and is removed.
    """
    states = []
    for path in folder.glob("checkpoint-*"):
        try:
            states.append(
                (int(json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]), path)
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            shutil.rmtree(path, ignore_errors=True)
    return str(max(states)[1]) if states else None


def _seconds_before(checkpoint: str | None) -> float:
    """Read how many seconds of training a state on disk has behind it."""
    if checkpoint is None:
        return 0.0
    with suppress(OSError, ValueError, KeyError, TypeError):
        seconds = float(read_object(Path(checkpoint).parent / SECONDS_FILE)["seconds"])
        return seconds if seconds >= 0 else 0.0
    return 0.0


def _meet() -> None:
    """Wait for the other processes, if there are any: their loading is no training."""
    import torch

    if processes.world_size() > 1:
        torch.distributed.all_reduce(torch.zeros(1))


def _together(micro: int) -> tuple[Caution, ...]:
    return (caution("together", processes=processes.world_size(), examples=micro),)


def _examples_at_once(
    model: Any, features: Features, batch_size: int, device: str, free_memory: Callable[[], int]
) -> tuple[int, str | None]:
    """Estimate how many examples fit into main memory at once, and say why if not a batch; other devices try all."""
    if device != "cpu" or processes.world_size() > 1:
        return batch_size // processes.world_size(), None
    longest = max(len(row["input_ids"]) for row in features.rows)
    free = int(free_memory() * MEMORY_SHARE)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    micro = batch_size
    while micro > 1 and training_bytes(model.config.to_dict(), weights, micro, longest) > free:
        micro = _part(batch_size, micro)
    if micro == batch_size:
        return batch_size, None
    return micro, f"{batch_size} examples of {longest} tokens at once would not fit into {free / 1e9:.1f} GB"


def _part(batch_size: int, micro: int) -> int:
    """Return the largest divisor of the batch that is at most half of `micro`."""
    return next(size for size in range(micro // 2, 0, -1) if batch_size % size == 0)
