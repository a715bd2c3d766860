"""Whether the records of a session are the evidence that a claim takes: of its models, its device, with enough seeds.

A demo model or random weights never settle what is claimed of the quality of a released model; of size, time and memory random
weights of the released architecture tell the same. What one or two seeds of a fine-tuned model score settles nothing about the
method, whatever a claim's file asks for; a checkpoint that is only evaluated is what its claim is about. Not aware of figures and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bertbench.records.record import NOT_MEASURED, RunRecord
from bertbench.report.claims.figure import kind_of, seeds_needed
from bertbench.stats.seed_spread import scope_of
from bertbench.units import millions

if TYPE_CHECKING:
    from bertbench.report.compare.evidence import Evidence
    from bertbench.specs.claims import ClaimSpec

RECIPE = ("batch_size", "learning_rate", "epochs", "max_length", "training_dtype")
OTHER_ARCHITECTURE = 0.1  # counts as published are rounded, by less than this


def problem(
    claim: ClaimSpec, evidence: Evidence, tasks: Sequence[str], counts: Mapping[str, float] = MappingProxyType({})
) -> str | None:
    """Why a session does not hold the evidence that a claim takes, or None; '' if there is nothing of it at all.

    `counts`: parameters by digest of the weights, from `parameter_counts`.
    """
    seen = False
    for model in claim.models:
        for records in _records(claim, evidence, model, tasks):
            done = [record for record in records if record.status == "ok"]
            if not done:
                return _why_not(records) if records else ("" if not seen else f"{model} was not measured with it")
            seen = True
            spec = evidence.specs[model].model_dump(mode="json")
            reason = next((found for record in done if (found := _unfit(claim, record, spec, counts))), None)
            if reason is None and kind_of(claim) == "quality":
                reason = _too_few_seeds(claim, done, model)
            if reason is not None:
                return reason
    return _partial(claim, evidence) or _two_recipes(claim, evidence, tasks)


def _too_few_seeds(claim: ClaimSpec, done: Sequence[RunRecord], model: str) -> str | None:
    """That there are fewer seeds than the claim takes, or so few that their score is of checkpoints, not of the method."""
    if len(done) < claim.needs.seeds:
        return f"{model} has {len(done)} of {claim.needs.seeds} seeds"
    is_trained = any(record.settings.get("mode") == "fine-tune" for record in done)
    needed = seeds_needed(claim)
    if is_trained and len(done) < needed:
        scope = scope_of([len(done)])
        return f"{model} has {len(done)} of {needed} seeds: its score tells of {scope}, a claim is about the method"
    return None


def _partial(claim: ClaimSpec, evidence: Evidence) -> str | None:
    """What was left out of quality runs by an option, or None."""
    if kind_of(claim) != "quality" or claim.needs.capped_training:
        return None
    options = evidence.stored.session.request.get("options", {})
    if options.get("eval_samples"):
        return f"scores are of {options['eval_samples']:,} examples at most"
    asked = options.get("epochs")
    trained = [record for record in evidence.stored.records if record.settings.get("mode") == "fine-tune"]
    meant = max((((record.task or {}).get("training") or {}).get("epochs", 0) for record in trained), default=0)
    return f"trained for {asked:g} of {meant:g} epochs" if asked is not None and asked < meant else None


def _two_recipes(claim: ClaimSpec, evidence: Evidence, tasks: Sequence[str]) -> str | None:
    """A hyperparameter in which model and reference were trained differently, or None."""
    if kind_of(claim) != "quality" or not claim.needs.one_recipe or claim.reference is None:
        return None
    for task in tasks:
        pair = [evidence.records("quality", model, task) for model in claim.models]
        trained = [found[0].settings for found in pair if found and found[0].settings.get("mode") == "fine-tune"]
        for name in RECIPE if len(trained) == len(claim.models) else ():
            if len({settings.get(name) for settings in trained}) > 1:
                values = " and ".join(f"{settings.get(name)}" for settings in trained)
                return f"trained with different recipes on {task}: {name.replace('_', ' ')} {values}"
    return None


def _records(claim: ClaimSpec, evidence: Evidence, model: str, tasks: Sequence[str]) -> list[list[RunRecord]]:
    kind = kind_of(claim)
    if kind == "quality":
        return [evidence.records("quality", model, task) for task in tasks]
    if kind == "speed":
        speeds = evidence.speeds(model)
        way = {"backend": claim.backend, "dtype": claim.dtype}
        return [[one for one in speeds if all(one.settings.get(key, to) == to for key, to in way.items())]]
    record = evidence.one(kind, model)
    return [[record] if record is not None else []]


def _why_not(records: Sequence[RunRecord]) -> str:
    error = next((record.error for record in records if record.error is not None), None)
    return error.message if error else "it failed, and no reason was recorded"


def measured_part(model: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a stored model spec that shape figures; what is None or empty counts as absent."""
    return {
        name: value for name, value in model.items() if name not in NOT_MEASURED and value not in (None, [], {}, ())
    }


def _unfit(claim: ClaimSpec, record: RunRecord, spec: Mapping[str, Any], counts: Mapping[str, float]) -> str | None:
    """What makes a finished record no evidence for the claim."""
    model = record.model_name
    if measured_part(record.model) != measured_part(spec):
        return f"{model} was configured otherwise there"
    reason = _unbound(claim.checkpoints.get(model), record, model, counts)
    if reason is not None:
        return reason
    device = str(record.settings.get("device", "")).split(":")[0]
    if claim.needs.device is not None and device != claim.needs.device:
        return f"measured on {device}, the claim is about {claim.needs.device}"
    return _unfit_quality(claim, record, model) if kind_of(claim) == "quality" else None


def _unbound(bound: str | None, record: RunRecord, model: str, counts: Mapping[str, float]) -> str | None:
    """What tells that a record is of another model than the released one that the claim is about."""
    if bound is None:
        return None
    used = record.model.get("checkpoint")
    if used != bound:
        return f"{model} was {used or 'a model without a released checkpoint'} there, the claim is about {bound}"
    stated = (entry["value"] for entry in record.model.get("published", ()) if entry.get("quantity") == "parameters")
    published, counted = next(stated, None), counts.get(record.weights_digest or "")
    if published and counted and abs(counted / published - 1) > OTHER_ARCHITECTURE:
        return f"{model} had {millions(counted)} parameters there, {millions(published)} are published: another architecture"
    return None


def parameter_counts(records: Iterable[RunRecord]) -> dict[str, float]:
    """Parameters by digest of the weights, as far as they were counted: weights of one digest are of one architecture."""
    found = {}
    for record in records:
        count = record.find("parameters", "unique") if record.kind == "size" else None
        if count is not None and record.weights_digest:
            found[record.weights_digest] = count.values[0]
    return found


def _unfit_quality(claim: ClaimSpec, record: RunRecord, model: str) -> str | None:
    if record.weights == "random":
        return f"{model} had random weights, which say nothing about quality"
    if record.capped and not claim.needs.capped_training:
        return f"training of {model} was cut to fit a time limit"
    samples, available = (record.settings.get(name) for name in ("train_samples", "train_available"))
    meant = ((record.task or {}).get("training") or {}).get("train_samples")
    if (
        samples is not None
        and available
        and samples < min(available, meant or available)
        and not claim.needs.capped_training
    ):
        return f"{model} was trained on {samples:,} of {available:,} examples"
    return None
