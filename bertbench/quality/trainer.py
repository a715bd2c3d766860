"""What transformers' Trainer is told: the recipe in its words, and a callback that watches."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertbench.errors import MeasurementError
from bertbench.models.students.sharing import is_tied, untied_state
from bertbench.quality.features import TEACHER
from bertbench.records.environment import cpu_model, instruction_flags
from bertbench.records.machines import Machine
from bertbench.records.progress import Progress
from bertbench.specs.tasks import TrainingSpec

if TYPE_CHECKING:
    from bertbench.quality.teaching import SoftTargets
    from bertbench.quality.work import Work

# Which number format models are trained in: bf16 autocast where the processor has instructions for it, else fp32.
#
# The format shapes weights, and so scores. Measuring decides it by the noise of a second (on one machine, twelve looks gave six
# times either answer), so what the processor has decides, and whoever knows better writes it down in the machine's file.

# Products in bf16; without them it is emulated, and slow. AMX does several times as many as in fp32; AVX-512's are twice as fast as fp32
# on AMD's processors, and on Intel's half as fast (Emerald Rapids without AMX: 185 against 337 GFLOP/s).
QUICK_FLAGS, QUICK_ON_AMD = "amx_bf16", "avx512_bf16"
CUDA_GENERATION = 8  # compute capability, of Ampere: the first with products in bf16

TrainingDtype = Literal["fp32", "bf16"]


def decide_training_format(
    results_dir: Path,
    environment_class: str,
    device: str,
    threads: int,
    say: Callable[[str], None],
    *,
    flags: Callable[[], Sequence[str]] = instruction_flags,
    cpu: Callable[[], str] = cpu_model,
) -> TrainingDtype:
    """Decide on the format that the machine's file states for this device and thread count, else by the processor.

    Args:
        results_dir: holds what is known of machines.
        environment_class: of this machine.
        device: 'cpu', 'cuda:0', …
        threads: that a model is trained with.
        say: told the decision, and why.
        flags: gives the processor's extensions.
        cpu: gives the processor's name.
    """
    machine, kind = Machine.load(results_dir, environment_class), device.split(":", maxsplit=1)[0]
    for warning in machine.warnings:
        say(f"warning: {warning}")
    stated = machine.training_dtype(kind, threads)
    if stated is not None:
        say(f"models are trained in {stated}, as {machine.path} states")
        return "bf16" if stated == "bf16" else "fp32"
    chosen: TrainingDtype = "bf16" if has_bf16(device, flags=flags, cpu=cpu) else "fp32"
    say(
        f"models are trained in {chosen}: {kind} has {'' if chosen == 'bf16' else 'no '}instructions for faster products in bf16"
    )
    return chosen


def has_bf16(
    device: str, *, flags: Callable[[], Sequence[str]] = instruction_flags, cpu: Callable[[], str] = cpu_model
) -> bool:
    """Tell whether the device has instructions for products in bf16 that are faster than fp32: the same answer at any time."""
    if device == "cpu":
        return QUICK_FLAGS in flags() or (QUICK_ON_AMD in flags() and "AMD" in cpu())
    if not device.startswith("cuda"):
        return False
    import torch

    return bool(torch.cuda.get_device_capability(device)[0] >= CUDA_GENERATION)


def is_bf16(dtype: str, decisions: dict[str, Any], decide: Callable[[], str]) -> bool:
    """Tell whether models are trained in bf16: as `dtype` asks, or for fp32 as decided once and kept in `decisions`."""
    if dtype != "fp32":
        return dtype == "bf16"
    if "training_dtype" not in decisions:
        decisions["training_dtype"] = decide()
    return bool(decisions["training_dtype"] == "bf16")


SECONDS_FILE = "bertbench.json"  # beside the Trainer's own state: seconds that training took before
BATCHES_A_CHUNK = 50


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
    """Write the recipe in Trainer's words: fused AdamW, linear schedule with warm-up, batches of similar length."""
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
    """Return TrainingArguments for one device; Trainer's own take the first GPU, or spread a model over all."""
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

        def __reduce__(self) -> tuple[Any, ...]:
            # Trainer writes its arguments beside a state; a class of this function could not be pickled.
            return str, (self.to_json_string(),)

    return OneDevice


class LengthGrouped:
    """An order of examples in which each batch holds ones of similar length; decided by seed and epoch alone.

    Examples are shuffled, sorted by length within chunks of BATCHES_A_CHUNK batches, and the batches shuffled; the one with the
    longest example comes first, so that memory shows its peak at once. Because nothing else decides it, an interrupted run
    that goes on sees every example as often as an uninterrupted one.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the number of the epoch that accelerate is about to begin."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self._seed} {self._epoch}")  # noqa: S311 (a reproducible order)
        order = list(range(len(self)))
        rng.shuffle(order)
        size = self._batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), size * BATCHES_A_CHUNK):
            chunk = sorted(order[start : start + size * BATCHES_A_CHUNK], key=lambda i: -self._lengths[i])
            batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
        short = [batch for batch in batches if len(batch) < size]  # at the end: it would shift all that follow
        whole = [batch for batch in batches if len(batch) == size]
        rng.shuffle(whole)
        longest = max(self._lengths)
        first = next((index for index, batch in enumerate(whole) if self._lengths[batch[0]] == longest), 0)
        return chain.from_iterable([*whole[first : first + 1], *whole[:first], *whole[first + 1 :], *short])


def trainer_class(sampler: LengthGrouped, soft: SoftTargets | None = None) -> Any:
    """Build a Trainer class that takes examples in the order of `sampler` and learns a teacher's answers too."""
    from transformers import Trainer

    class Ordered(Trainer):  # type: ignore[misc,unused-ignore]
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return sampler

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if soft is None:
                return super().compute_loss(model, inputs, *args, **kwargs)
            answers = inputs.pop(TEACHER)
            hard, output = super().compute_loss(model, inputs, return_outputs=True)
            return soft.loss(hard, output, answers, inputs)

        def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
            if is_tied(self.model):
                state_dict = untied_state(self.model)
            super()._save(output_dir, state_dict)

    return Ordered


AUTOCAST = ("forward", "_original_forward", "_is_accelerate_prepared")  # what accelerate leaves on a model it trains


@contextmanager
def plain(model: Any) -> Iterator[None]:
    """Let a model that is trained in autocast compute in the format of its weights inside the block.

    Accelerate wraps the forward pass of the very model, and leaves it so after training.
    """
    wrapped = _take_autocast(model)
    try:
        yield
    finally:
        model.__dict__.update(wrapped)


def make_plain(model: Any) -> None:
    """Undo for good what training in autocast has left on a model."""
    _take_autocast(model)


def _take_autocast(model: Any) -> dict[str, Any]:
    if "_original_forward" not in model.__dict__:
        return {}
    return {name: model.__dict__.pop(name) for name in AUTOCAST if name in model.__dict__}


def broken(message: str, folder: Path | None) -> MeasurementError:
    """Build the error of a run whose loss is no number, and remove the state in `folder` that a retry would resume."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return MeasurementError(message, "lower --learning-rate")


def watcher(
    label: str, progress: Progress, *, work: Work | None = None, each_epoch: Callable[[], None] | None = None
) -> Any:
    """Build a Trainer callback that reports progress, saves by time, and stops on a broken loss or at the deadline.

    Without `work` nothing is saved and there is no deadline.

    Its `began` is set by the caller; `paused` are seconds that went to other things than training.
    """
    from transformers import TrainerCallback

    folder, deadline = (work.state, work.deadline) if work else (None, None)
    save_every_s = work.save_every_s if work else math.inf

    class Watcher(TrainerCallback):  # type: ignore[misc,unused-ignore]
        began = 0.0
        paused = 0.0
        saved = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            progress(label, state.global_step, state.max_steps)
            if folder is not None and time.monotonic() - self.saved > save_every_s:
                control.should_save = True
            if deadline is not None and time.monotonic() > deadline:
                raise MeasurementError(
                    f"{label}: stopped at step {state.global_step} of {state.max_steps}, --max-minutes is used up",
                    "give more time, or train on less",
                )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            self.saved = time.monotonic()
            if folder is not None:
                spent = json.dumps({"seconds": time.perf_counter() - self.began - self.paused})
                (folder / SECONDS_FILE).write_text(spent, encoding="utf-8")

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            if each_epoch is None or state.global_step >= state.max_steps:
                return
            start = time.perf_counter()
            with plain(getattr(kwargs["model"], "module", kwargs["model"])):
                each_epoch()
            kwargs["model"].train()
            self.paused += time.perf_counter() - start

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(float(loss)):
                raise broken(f"{label}: the loss is {loss} at step {state.global_step}", folder)

    return Watcher()
