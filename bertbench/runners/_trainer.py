"""What transformers' Trainer is told: the recipe in its words, and a callback that watches.

Not aware of examples and models.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from bertbench.errors import MeasurementError
from bertbench.progress import Progress
from bertbench.specs import TrainingSpec

SAVE_EVERY_S = (
    120.0  # an interrupted run loses so much at most; writing weights and optimizer state takes a second or two
)


def arguments(
    folder: str,
    recipe: TrainingSpec,
    steps: int,
    *,
    micro: int,
    accumulation: int,
    seed: int,
    device: str,
    bf16: bool,
) -> Any:
    """The recipe in Trainer's words: fused AdamW, linear schedule with warm-up, batches of similar length."""
    return _arguments_on(device)(
        output_dir=folder,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
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
        save_strategy="no",  # the watcher asks for it, by time
        save_total_limit=1,
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


def watcher(
    label: str,
    progress: Progress,
    deadline: float | None,
    each_epoch: Callable[[], None] | None,
    folder: Path | None,
) -> Any:
    """A Trainer callback: tells how far training is, saves its state by time, and stops it when the loss breaks or time is up.

    Its `began` is set by the caller; `paused` are seconds that went to other things than training.
    """
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc,unused-ignore]
        began = 0.0
        paused = 0.0
        saved = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            progress(label, state.global_step, state.max_steps)
            if folder is not None and time.monotonic() - self.saved > SAVE_EVERY_S:
                control.should_save = True
            if deadline is not None and time.monotonic() > deadline:
                raise MeasurementError(
                    f"{label}: stopped at step {state.global_step} of {state.max_steps}, --max-minutes is used up",
                    "give more time or --train-samples",
                )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            self.saved = time.monotonic()
            if folder is not None:
                from bertbench.runners.finetune import SECONDS_FILE

                spent = json.dumps({"seconds": time.perf_counter() - self.began - self.paused})
                (folder / SECONDS_FILE).write_text(spent, encoding="utf-8")

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            if each_epoch is None or state.global_step >= state.max_steps:
                return
            start = time.perf_counter()
            each_epoch()
            kwargs["model"].train()
            self.paused += time.perf_counter() - start

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(float(loss)):
                raise MeasurementError(
                    f"{label}: the loss is {loss} at step {state.global_step}", "lower --learning-rate"
                )

    return Watcher()
