"""A gate's policy, from one YAML file: what is critical and what advisory, within which margins, and what is waived until when.

A tier judges what its rules name, each quantity within the margin of its most telling rule. Both tiers may name one quantity: within
3 % it is good, beyond 10 % it fails. Only what is critical decides the gate, and what is critical and was not measured never passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from bertbench.errors import ConfigError, UnknownNameError
from bertbench.gate.finding import EQUAL, GateFinding, Kind, Margin, Margins, Tier, Waiver
from bertbench.specs.base import Spec
from bertbench.specs.yaml_files import describe, read_yaml

GatedQuantity = Literal["counts", "checkpoint", "outputs", "score", "time", "memory"]
KIND_OF: dict[GatedQuantity, Kind] = {
    "counts": "size", "checkpoint": "quality", "outputs": "quality", "score": "quality", "time": "speed", "memory": "memory",
}  # fmt: skip
MARGIN_OF: dict[GatedQuantity, Margin] = {
    "outputs": "outputs",
    "score": "quality",
    "time": "speed",
    "memory": "memory",
}
BROKEN = "measuring"  # the quantity of what broke while it was measured
TIERS: tuple[Tier, ...] = ("critical", "advisory")
NOT_MEASURED = "critical by the policy, and not measured"
ANY_MODEL = "any model"  # where no model is gated at all
HINT = "see docs/gate.md, A policy"


def wrong_margin(margin: Margin, value: float) -> tuple[str, str | None] | None:
    """Say what is wrong with a margin, and what to do; None if nothing is."""
    if margin in {"speed", "memory"} and not 1 < value < 100:
        return "must be a factor above 1", "1.05 allows 5% more"
    if margin == "quality" and not 0 < value < 1:
        return "must lie between 0 and 1", "0.99 asks for 99% of the score"
    if margin == "outputs" and not 0 <= value < 100:
        return "must be a small number, 0 or more", None
    return None


class GatedSpec(Spec):
    """Quantities by name, on a task or on all, of a model or of all."""

    quantity: GatedQuantity
    task: str | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.task is not None and KIND_OF[self.quantity] != "quality":
            raise ValueError(f"{self.quantity} is of no task: leave 'task' out")
        return self

    @property
    def label(self) -> str:
        """'score of bert on sst2'."""
        return self.quantity + (f" of {self.model}" if self.model else "") + (f" on {self.task}" if self.task else "")

    def matches(self, finding: GateFinding) -> bool:
        """Tell whether a finding is of these."""
        return (
            quantity_named(finding) == self.quantity
            and self.model in {None, finding.model}
            and self.task in {None, finding.detail}
        )


class RuleSpec(GatedSpec):
    """What a tier gates; without a margin the usual one."""

    margin: float | None = Field(None, allow_inf_nan=False, strict=True)  # true is no 1

    @model_validator(mode="after")
    def _has_margin(self) -> Self:
        if self.margin is None:
            return self
        if self.quantity not in MARGIN_OF:
            raise ValueError(f"{self.quantity} must be equal: leave 'margin' out")
        if self.quantity == "time" and self.model is not None:
            raise ValueError("the margin of time is one for all models: leave 'model' or 'margin' out")
        wrong = wrong_margin(MARGIN_OF[self.quantity], self.margin)
        if wrong:
            raise ValueError(f"margin {self.margin:g} {wrong[0]}")
        return self


class WaiverSpec(GatedSpec):
    """What does not count for a while: why, and the last day (UTC) on which it does not."""

    reason: Annotated[str, Field(min_length=1)]
    expires: str

    @field_validator("expires")
    @classmethod
    def _is_day(cls, text: str) -> str:
        try:
            date.fromisoformat(text)
        except ValueError:
            raise ValueError("must be a day such as '2027-01-31'") from None
        return text

    @property
    def waiver(self) -> Waiver:
        """What a finding has of it."""
        return Waiver(self.reason, date.fromisoformat(self.expires))


class GatePolicySpec(Spec):
    """A policy. `others`: the tier of what no rule names; none: it is not gated, and kinds of which nothing is named are not measured."""

    name: str = ""
    critical: tuple[RuleSpec, ...] = ()
    advisory: tuple[RuleSpec, ...] = ()
    others: Literal["critical", "advisory", "none"] = "critical"
    waivers: tuple[WaiverSpec, ...] = ()

    def rules(self, tier: Tier) -> tuple[RuleSpec, ...]:
        """Return the rules of a tier."""
        return self.critical if tier == "critical" else self.advisory

    @model_validator(mode="after")
    def _is_plain(self) -> Self:
        for tier in TIERS:
            rules = self.rules(tier)
            twice = next((label for label, count in Counter(rule.label for rule in rules).items() if count > 1), None)
            if twice:
                raise ValueError(f"{tier} names {twice} twice")
            for rule in rules:
                if rule.model and not rule.task and any(_is_of_task_alone(other, rule.quantity) for other in rules):
                    raise ValueError(
                        f"{tier}: {rule.label} and a rule of a task both hold: name model and task in one rule"
                    )
        return self


def _is_of_task_alone(rule: RuleSpec, quantity: str) -> bool:
    return rule.quantity == quantity and rule.task is not None and rule.model is None


def quantity_named(finding: GateFinding) -> GatedQuantity:
    """Return what a policy calls the quantity of a finding."""
    if finding.kind != "quality":
        return next(name for name, kind in KIND_OF.items() if kind == finding.kind)
    names: dict[str, GatedQuantity] = {"outputs": "outputs", "score": "score", BROKEN: "score"}
    return names.get(finding.quantity, "checkpoint")


def margin_text(finding: GateFinding, margins: Margins) -> str:
    """Write the margin that a quantity is judged by."""
    quantity = quantity_named(finding)
    if quantity not in MARGIN_OF:
        return EQUAL
    value = margins.at(MARGIN_OF[quantity], finding.model, finding.detail if finding.kind == "quality" else None)
    words = {"outputs": f"{value:g}, same answers", "score": f"{100 * value:g}% retained"}
    return words.get(quantity, f"{value:g}x")


@dataclass(frozen=True)
class Gated:
    """What a check gates: models, tasks, and the model that times and memory are divided by, whose ratio to itself is 1."""

    models: Sequence[str]
    tasks: Sequence[str]
    reference: str | None = None

    def pairs(self, rule: RuleSpec) -> list[tuple[str, str | None]]:
        """List the models, and of what has a task the tasks, that a rule asks for; at least one, lest it ask for nothing."""
        kind = KIND_OF[rule.quantity]
        models = [name for name in self.models if kind not in {"speed", "memory"} or name != self.reference]
        names = [rule.model] if rule.model else models or [ANY_MODEL]
        tasks: list[str | None] = [rule.task] if rule.task else [*self.tasks] if kind == "quality" else []
        return [(model, task) for model in names for task in tasks or [None]]

    def missing(self, rule: RuleSpec, findings: Collection[GateFinding]) -> list[tuple[str, str | None]]:
        """List what of these pairs has no finding: what others have says nothing about them."""
        had = [finding for finding in findings if rule.matches(finding)]
        return [
            (model, task)
            for model, task in self.pairs(rule)
            if not any(model in {finding.model, ANY_MODEL} and task in {None, finding.detail} for finding in had)
        ]


@dataclass(frozen=True)
class GatePolicy:
    """What a check goes by: the file's rules, or none, on top of the usual margins."""

    margins: Margins = field(default_factory=Margins)
    spec: GatePolicySpec = field(default_factory=GatePolicySpec)
    path: Path | None = None

    @property
    def tiers(self) -> dict[Tier, Margins]:
        """The tiers that judge anything, with their margins."""
        return {tier: self._margins_of(tier) for tier in TIERS if self.spec.rules(tier) or self.spec.others == tier}

    def _margins_of(self, tier: Tier) -> Margins:
        usual, special = {}, {}
        for rule in self.spec.rules(tier):
            margin = MARGIN_OF.get(rule.quantity)
            if margin is None:
                continue
            if rule.model is None and rule.task is None:
                usual[margin] = self._margin(rule, margin)
            elif margin != "speed":  # one for all models
                special[margin, rule.model, rule.task] = self._margin(rule, margin)
        return replace(self.margins, by=special, **usual)  # type: ignore[arg-type]

    def _margin(self, rule: RuleSpec, margin: Margin) -> float:
        """Return a rule's margin; without one it has the usual one, whatever a rule of more says."""
        usual: float = getattr(self.margins, margin)
        return usual if rule.margin is None else rule.margin

    @property
    def deciding(self) -> tuple[Margins, ...]:
        """The margins by which times must be clear before timing may end, each once."""
        distinct: list[Margins] = []
        for tier, margins in self.tiers.items():
            if self._gates(tier, "time") and all(margins.speed != other.speed for other in distinct):
                distinct.append(margins)
        return tuple(distinct) or (self.margins,)

    def _gates(self, tier: Tier, quantity: GatedQuantity) -> bool:
        return self.spec.others == tier or any(rule.quantity == quantity for rule in self.spec.rules(tier))

    def names(self, quantity: GatedQuantity) -> bool:
        """Tell whether any tier gates a quantity of anything."""
        return any(self._gates(tier, quantity) for tier in TIERS)

    def gates(self, kind: str) -> bool:
        """Tell whether anything of a kind is gated at all."""
        return any(self.names(quantity) for quantity, of_kind in KIND_OF.items() if of_kind == kind)

    @property
    def critical_margins(self) -> Margins:
        """The margins of the tier that decides."""
        return self.tiers.get("critical", self.margins)

    def decides(self, finding: GateFinding, today: date) -> bool:
        """Tell whether a finding, judged by the critical margins, is of the tier that decides, and not waived."""
        is_waived = _can_be_waived(finding) and self._waiver(finding, today) is not None
        return self._owns("critical", finding) and not is_waived

    def _owns(self, tier: Tier, finding: GateFinding) -> bool:
        if any(rule.matches(finding) for rule in self.spec.rules(tier)):
            return True
        named = any(rule.matches(finding) for other in TIERS for rule in self.spec.rules(other))
        return not named and self.spec.others == tier

    def check_names(self, models: Collection[str], tasks: Collection[str]) -> None:
        """Find out before any work whether the file names what there is.

        Raises:
            ConfigError: it does not.
        """
        parts = {"critical": self.spec.critical, "advisory": self.spec.advisory, "waivers": self.spec.waivers}
        for part, entries in parts.items():
            for number, entry in enumerate(entries):
                for kind, name, known in (("model", entry.model, models), ("task", entry.task, tasks)):
                    if name is not None and name not in known:
                        error = UnknownNameError(kind, name, known)
                        raise ConfigError(f"{self.path}: key '{part}.{number}.{kind}': {error.message}", error.hint)

    def judged(
        self, judge: Callable[[Margins], Iterable[GateFinding]], gated: Gated, today: date, *, is_dry: bool = False
    ) -> tuple[list[GateFinding], list[str]]:
        """Judge by every tier, and return the findings and what is to be said of rules and waivers.

        Args:
            judge: gives the findings with these margins.
            gated: what the rules hold of.
            today: the day in UTC, by which waivers end.
            is_dry: nothing is measured yet, so that a waiver covers all that it names.
        """
        findings: list[GateFinding] = []
        notes: list[str] = []
        done: list[tuple[Margins, list[GateFinding]]] = []
        for tier, margins in self.tiers.items():
            everything = next((found_before for known, found_before in done if known == margins), None)
            if everything is None:
                everything = list(judge(margins))
                done.append((margins, everything))
            owned = [replace(finding, tier=tier) for finding in everything if self._owns(tier, finding)]
            findings += self._complete(tier, owned, gated)
            notes += self._unmet(tier, owned, gated)
        named = sum(not any(self._owns(tier, finding) for tier in TIERS) for finding in done[0][1]) if done else 0
        if named:
            notes.append(f"{named} quantities that the policy does not name are not gated")
        findings = [
            replace(finding, waiver=self._waiver(finding, today)) if is_dry or _can_be_waived(finding) else finding
            for finding in findings
        ]
        return findings, [*notes, *self._on_waivers(findings, today)]

    def _complete(self, tier: Tier, findings: Sequence[GateFinding], gated: Gated) -> Iterator[GateFinding]:
        """Yield a tier's findings; what a critical rule names and was not measured is open, model by model, whatever the reason."""
        rules = self.spec.critical if tier == "critical" else ()
        for finding in findings:
            is_open = finding.verdict == "not gated" and any(rule.matches(finding) for rule in rules)
            yield replace(finding, verdict="inconclusive", measured=False) if is_open else finding
        # Two rules may ask for one thing.
        missing = [(rule.quantity, *pair) for rule in rules for pair in gated.missing(rule, findings)]
        for named, model, task in dict.fromkeys(missing):
            quantity = "peak memory" if named == "memory" else named
            yield GateFinding(
                KIND_OF[named], model, quantity, "inconclusive", reason=NOT_MEASURED, detail=task, measured=False
            )

    def _unmet(self, tier: Tier, findings: Sequence[GateFinding], gated: Gated) -> Iterator[str]:
        """Yield what advisory rules name and was not measured."""
        for rule in self.spec.advisory if tier == "advisory" else ():
            missing = gated.missing(rule, findings)
            if missing:
                names = [f"{model} on {task}" if task else model for model, task in missing]
                is_part = len(names) < len(gated.pairs(rule))
                yield f"advisory {rule.label} was not measured" + (f": {', '.join(names)}" if is_part else "")

    def _waiver(self, finding: GateFinding, today: date) -> Waiver | None:
        """Return what covers a finding on this day."""
        waivers = (entry.waiver for entry in self.spec.waivers if entry.matches(finding))
        return next((waiver for waiver in waivers if waiver.expires >= today), None)

    def _on_waivers(self, findings: Sequence[GateFinding], today: date) -> Iterator[str]:
        for entry in self.spec.waivers:
            matching = [finding for finding in findings if entry.matches(finding)]
            if entry.waiver.expires < today:
                yield f"the waiver of {entry.label} expired on {entry.expires} and counts no more: {entry.reason}"
            elif not matching:
                yield f"the waiver of {entry.label} matches nothing that is gated: {entry.reason}"
            elif not any(finding.waiver == entry.waiver for finding in matching):
                yield f"the waiver of {entry.label} until {entry.expires} is not used, as nothing that it could cover is beyond its margin"


def _can_be_waived(finding: GateFinding) -> bool:
    """Tell whether a waiver may cover a finding: only what was compared, never what broke or is missing."""
    return finding.verdict in {"fail", "inconclusive"} and finding.measured and finding.quantity != BROKEN


def read_policy(path: Path) -> GatePolicy:
    """Read a policy.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong; the message names both.
    """
    try:
        spec = GatePolicySpec(**read_yaml(path, path.stem))
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error, path)}", HINT) from None
    if not spec.critical and spec.others == "none" and not spec.advisory:
        raise ConfigError(f"{path}: gates nothing", "name something in 'critical' or 'advisory'")
    return GatePolicy(spec=spec, path=path)
