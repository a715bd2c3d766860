"""Fine-tuning on transformers' Trainer: batches of similar length, padded to their longest; never to the maximum.

Not aware of stores, records and the hub.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bertbench.errors import MeasurementError
from bertbench.progress import Progress
from bertbench.specs import TrainingSpec


@dataclass(frozen=True)
class TrainingRun:
    """How training went. `loss` is the mean over the last tenth of the steps, `seconds` the loop alone."""

    seconds: float
    steps: int
    samples_seen: int
    loss: float
    padding_waste: float


def total_steps(samples: int, recipe: TrainingSpec) -> int:
    """Optimizer steps of a run over `samples` examples."""
    return max(1, math.ceil(math.ceil(samples / recipe.batch_size) * recipe.epochs))


def finetune(
    model: Any,
    encoded: Sequence[dict[str, list[int]]],
    labels: Sequence[float],
    recipe: TrainingSpec,
    *,
    pad: dict[str, int],
    seed: int,
    device: str,
    bf16: bool,
    regression: bool,
    label: str,
    progress: Progress,
    deadline: float | None = None,
) -> TrainingRun:
    """Train `model` in place.

    Args:
        model: a classifier; moved to `device`.
        encoded: token ids (and token types, masks) of each example, not padded.
        labels: class indices in the order of the model's outputs, or numbers for regression.
        recipe: epochs, batch size, learning rate, warm-up, weight decay, gradient clipping.
        pad: what each key is padded with.
        seed: of data order and dropout.
        device: 'cpu', 'cuda:0', …
        bf16: autocast to bfloat16.
        regression: labels are numbers.
        label: the step's name for `progress`.
        progress: told after each step.
        deadline: time.monotonic() at which to give up.

    Raises:
        MeasurementError: the loss stopped being finite, or the deadline passed.
    """
    import torch
    from transformers import Trainer
    from transformers.trainer_callback import PrinterCallback

    rows = [{**row, "labels": value if regression else int(value)} for row, value in zip(encoded, labels, strict=True)]
    collator = _Collator(pad, torch.float32 if regression else torch.int64)
    with tempfile.TemporaryDirectory(prefix="bertbench-trainer-") as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(scratch, recipe, total_steps(len(rows), recipe), seed=seed, device=device, bf16=bf16),
            train_dataset=_Rows(rows),
            data_collator=collator,
            callbacks=[_watcher(label, progress, deadline)],
        )
        trainer.remove_callback(PrinterCallback)  # it would print to stdout
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    loss = float(losses[-1]) if losses else float(trainer.state.log_history[-1]["train_loss"])
    if not math.isfinite(loss):
        raise MeasurementError(f"{label}: the loss is {loss}", "lower --learning-rate")
    steps = int(trainer.state.global_step)
    samples, waste = collator.used(steps)
    return TrainingRun(seconds, steps, samples, loss, waste)


def _arguments(folder: str, recipe: TrainingSpec, steps: int, *, seed: int, device: str, bf16: bool) -> Any:
    """The recipe in Trainer's words: fused AdamW, linear schedule with warm-up, batches of similar length."""
    return _arguments_on(device)(
        output_dir=folder,
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        warmup_steps=math.ceil(recipe.warmup_ratio * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        bf16=bf16,
        use_cpu=device == "cpu",
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        dataloader_pin_memory=device.startswith("cuda"),
        save_strategy="no",
        logging_steps=max(1, steps // 10),
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )


def _arguments_on(device: str) -> Any:
    """TrainingArguments for one device; Trainer's own take the first GPU, and spread one model over all there are."""
    import torch
    from transformers import TrainingArguments

    if not device.startswith("cuda"):
        return TrainingArguments

    class OneDevice(TrainingArguments):  # type: ignore[misc,unused-ignore]
        @cached_property
        def _setup_devices(self) -> torch.device:
            super()._setup_devices  # noqa: B018 (sets up accelerate's state)
            self._n_gpu = 1
            torch.cuda.set_device(device)
            return torch.device(device)

    return OneDevice


class _Rows:
    """A list as a torch data set (a map-style one needs no base class)."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index]


class _Collator:
    """Makes batches and remembers how many samples, tokens and padded tokens each holds."""

    def __init__(self, pad: dict[str, int], label_type: Any) -> None:
        self._pad = pad
        self._label_type = label_type
        self._batches: list[tuple[int, int, int]] = []

    def __call__(self, batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of shape (batch, longest), and labels of shape (batch,)."""
        import torch

        tensors = padded(batch, self._pad)
        tokens = sum(len(row["input_ids"]) for row in batch)
        self._batches.append((len(batch), tokens, tensors["input_ids"].numel()))
        return tensors | {"labels": torch.tensor([row["labels"] for row in batch], dtype=self._label_type)}

    def used(self, steps: int) -> tuple[int, float]:
        """Samples, and padding tokens / all tokens, of the first `steps` batches: the loader fetches one ahead."""
        samples, tokens, padded_tokens = (sum(column) for column in zip(*self._batches[:steps], strict=True))
        return samples, 1 - tokens / padded_tokens


def padded(batch: Sequence[dict[str, Any]], pad: dict[str, int]) -> dict[str, Any]:
    """Integer tensors of shape (batch, longest) for the keys in `pad`, filled up with its values."""
    import torch

    longest = max(len(row["input_ids"]) for row in batch)
    return {
        key: torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in batch])
        for key, filler in pad.items()
        if key in batch[0]
    }


def _watcher(label: str, progress: Progress, deadline: float | None) -> Any:
    """A Trainer callback: tells how far training is, and stops it when the loss breaks or time is up."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            progress(label, state.global_step, state.max_steps)
            if deadline is not None and time.monotonic() > deadline:
                raise MeasurementError(
                    f"{label}: stopped at step {state.global_step} of {state.max_steps}, --max-minutes is used up",
                    "give more time or --train-samples",
                )

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(float(loss)):
                raise MeasurementError(
                    f"{label}: the loss is {loss} at step {state.global_step}", "lower --learning-rate"
                )

    return Watcher()
