"""Distillation before any task: a student learns from a teacher on text without labels, DistilBERT's way.

Source: arXiv:1910.01108 (DistilBERT) Sec 2 and 3.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertbench.errors import MeasurementError
from bertbench.models.students.sharing import is_tied, untied_state
from bertbench.quality.teaching import divergence
from bertbench.quality.trainer import arguments, watcher
from bertbench.specs.tasks import TrainingSpec

if TYPE_CHECKING:
    from bertbench.records.progress import Progress
    from bertbench.specs.models import PretrainSpec

PARTS = ("soft", "mlm", "cosine")


@dataclass
class Pretraining:
    """How it went: seconds of the loop, steps, tokens seen, and each loss (not weighted) over the last tenth of the steps."""

    seconds: float
    steps: int
    tokens: int
    losses: dict[str, float] = field(default_factory=dict)


def pretrain(
    student: Any,
    teacher: Any,
    tokenizer: Any,
    blocks: Callable[[], Iterable[list[int]]],
    spec: PretrainSpec,
    *,
    device: str,
    bf16: bool,
    label: str,
    progress: Progress,
    deadline: float | None = None,
) -> Pretraining:
    """Train `student`, a masked language model, in place.

    Args:
        student: starts as it is.
        teacher: of the same vocabulary and hidden size.
        tokenizer: of both.
        blocks: makes token ids anew; text that is too short for all steps is taken several times.
        spec: losses and recipe.
        device: 'cpu', 'cuda:0', …
        bf16: autocast to bfloat16.
        label: the step's name for `progress`.
        progress: told after each step.
        deadline: time.monotonic() at which to stop; what was learnt until then stays.

    Raises:
        MeasurementError: there is no text, or the loss stopped being finite.
    """
    from transformers import DataCollatorForLanguageModeling
    from transformers.trainer_callback import PrinterCallback

    if next(iter(blocks()), None) is None:
        raise MeasurementError(f"{label}: there is no text", "check --text and --text-column")
    recipe = TrainingSpec(
        epochs=1, batch_size=spec.batch_size, learning_rate=spec.learning_rate, warmup_ratio=spec.warmup_ratio
    )
    losses = Losses(teacher.to(device).eval(), spec)
    with tempfile.TemporaryDirectory(prefix="bertbench-trainer-") as scratch:
        settings = arguments(
            scratch, recipe, spec.steps, micro=spec.batch_size, accumulation=1, seed=spec.seed, device=device, bf16=bf16
        )
        settings.max_steps = spec.steps
        look = watcher(label, progress)
        trainer = _trainer_class(losses)(
            model=student,
            args=settings,
            train_dataset=_stream(blocks),
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=spec.mask_share, seed=spec.seed),
            callbacks=[look, _stop_at(deadline)],
        )
        trainer.model_accepts_loss_kwargs = False
        trainer.remove_callback(PrinterCallback)
        look.began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - look.began
    means = losses.means()
    if not all(map(math.isfinite, means.values())):
        raise MeasurementError(f"{label}: a loss is no number", "lower --learning-rate")
    return Pretraining(seconds, int(trainer.state.global_step), losses.tokens, means)


class Losses:
    """The loss of a batch, and what its parts were."""

    def __init__(self, teacher: Any, spec: PretrainSpec) -> None:
        self._teacher = teacher
        self._spec = spec
        self._seen: list[tuple[Any, ...]] = []
        self.tokens = 0

    def of(self, model: Any, inputs: dict[str, Any]) -> Any:
        """Compute the weighted loss of masked token ids (batch, tokens) and their labels; skip parts without weight."""
        import torch
        from torch.nn import functional

        spec, labels = self._spec, inputs.pop("labels")
        present = inputs["attention_mask"].bool()
        needs_teacher = bool(spec.alpha_soft or spec.alpha_cos)
        with torch.no_grad():
            taught = self._teacher(**inputs, output_hidden_states=True) if needs_teacher else None
        learnt = model(**inputs, output_hidden_states=True)
        zero = learnt.logits.new_zeros((), dtype=torch.float32)
        soft = mlm = cosine = zero
        if spec.alpha_soft and taught is not None:
            soft = divergence(learnt.logits[present].float(), taught.logits[present].float(), spec.temperature)
        if spec.alpha_mlm and (labels >= 0).any():  # by chance nothing is masked in a short batch
            mlm = functional.cross_entropy(learnt.logits.flatten(0, 1).float(), labels.flatten())
        if spec.alpha_cos and taught is not None:
            pair = (output.hidden_states[-1][present].float() for output in (learnt, taught))
            cosine = 1 - functional.cosine_similarity(*pair, dim=-1).mean()
        self.tokens += int(present.sum())
        self._seen.append((soft.detach(), mlm.detach(), cosine.detach()))
        return spec.alpha_soft * soft + spec.alpha_mlm * mlm + spec.alpha_cos * cosine

    def means(self) -> dict[str, float]:
        """Average each part over the last tenth of the batches; those without weight are left out."""
        last = self._seen[-max(1, len(self._seen) // 10) :]
        weights = (self._spec.alpha_soft, self._spec.alpha_mlm, self._spec.alpha_cos)
        return {
            name: sum(float(parts[index]) for parts in last) / len(last)
            for index, (name, weight) in enumerate(zip(PARTS, weights, strict=True))
            if weight
        }


def _trainer_class(losses: Losses) -> Any:
    from transformers import Trainer

    class Distiller(Trainer):  # type: ignore[misc,unused-ignore]
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            return losses.of(model, inputs)

        def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
            super()._save(output_dir, untied_state(self.model) if is_tied(self.model) else state_dict)

    return Distiller


def _stop_at(deadline: float | None) -> Any:
    """Build a Trainer callback that ends training in time."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 (Trainer's signature)
            if deadline is not None and time.monotonic() > deadline:
                control.should_training_stop = True

    return Stop()


def _stream(blocks: Callable[[], Iterable[list[int]]]) -> Any:
    from torch.utils.data import IterableDataset

    class Stream(IterableDataset):  # type: ignore[misc,type-arg,unused-ignore]
        def __iter__(self) -> Iterator[dict[str, list[int]]]:
            for ids in blocks():
                yield {"input_ids": ids, "attention_mask": [1] * len(ids)}

    return Stream()
