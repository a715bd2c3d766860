"""What a reader of a record should know, as facts: a kind, whom it is about, and the names and figures that belong to it.

Words are made where they are shown, so that figures of one kind can be shown as a range, and code decides by the kind alone.

    str(caution("spread", "bert 8x128", spread=7.2))   # 'bert 8x128: round medians spread by 7%; …'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

OTHER = "other"  # of a record that was made when warnings were sentences
OF_DATA = "data"
FAILED_LATER = "failed-later"

# By kind its words. A field with a format is a figure, one without is a name.
WORDINGS: dict[str, str] = {
    OTHER: "{text}",
    # Timing.
    "busy-start": (
        "the machine was busy when timing began: {idle:.1f} of {usable:.0f} usable cores were idle; "
        "repeat on a quiet machine"
    ),
    "other-programs": (
        "other programs kept {busy:.1f} of {usable:.0f} usable cores busy while this was timed; "
        "absolute times suffer more than ratios; repeat on a quiet machine"
    ),
    "hypervisor": "the hypervisor took {share:.0f}% of the processor; use a machine of your own",
    "swapped": "memory was swapped while this was timed; close other programs or time fewer models at once",
    "stood-still": (
        "the machine stood still for {seconds:.0f} s (asleep, stopped, paused or starved by other work), within {passes:.0f} of the timed passes; their rounds may be off: "
        "repeat with --fresh"
    ),
    "slower-at-the-end": (
        "the machine computed {loss:.0f}% slower at the end than at the start: throttling or other load; let it cool"
    ),
    "governor": (
        "the cores' frequency follows the load (governor {governors}): "
        "set the governor to performance, e.g. `sudo cpupower frequency-set -g performance`"
    ),
    "turbo": (
        "cores may run above their base frequency as long as they are cool (turbo): absolute times depend on it more than ratios; "
        "switch it off where figures are to be repeated"
    ),
    "shared-cores": (
        "threads shared cores, {threads:.0f} on {physical:.0f} (SMT), and waited for each other; "
        "give --threads {physical:.0f}, or switch SMT off"
    ),
    "fixed-layout": (
        "address layouts are not randomized: all rounds had one, whose luck no interval shows; "
        "switch it on with `sudo sysctl kernel.randomize_va_space=2`, and start without setarch"
    ),
    "unread-machine": "{text}",
    "no-task-inputs": "natural lengths were not timed: there are no task inputs",
    "no-natural-lengths": "natural lengths are not timed: {reason}",
    "unsteady-start": ("its first {passes:.0f} passes were not steady: timings may drift; repeat on a quiet machine"),
    "spread": "round medians spread by {spread:.0f}%; more rounds or a quieter machine would help",
    "few-rounds": "only {rounds:.0f} rounds were timed: intervals over so few are wide",
    "time-limit": (
        "timing stopped at its time limit after {rounds:.0f} of {planned:.0f} rounds; more minutes give narrower intervals"
    ),
    "time-limit-early": (
        "timing stopped at its time limit after {rounds:.0f} of {planned:.0f} rounds; {least:.0f} rounds need about "
        "{needed}; more minutes give narrower intervals"
    ),
    "precision-missed": (
        "a precision of {precision:.1f}% was not reached in {rounds:.0f} rounds; "
        "`bertbench calibrate` tells what this machine can show"
    ),
    # Other costs.
    "no-energy": "energy was not measured: {reason}",
    "energy-late": "energy of {targets} was not measured: each takes {seconds:.0f} s, no time was left",
    "no-memory": "memory of {shape} not measured: {reason}",
    # How a model was loaded and run.
    # Models are only comparable in speed where attention is the same, and in scores to about the seventh digit.
    "other-attention": "'{asked}' attention is not available for this architecture; it was {verb} with '{used}'",
    "guessed-outputs": "{text}",
    "random-start": "started from random weights: its quality is that of training from scratch",
    "new-pooler": "the checkpoint has no pooler; a new one was trained with the head",
    "random-ranges": (
        "{backend} took its ranges from random token ids ({reason}): its times hold, what it answers to texts is not known; "
        "name a task with --task"
    ),
    # What it was given.
    OF_DATA: "{text}",
    "cut-questions": "{cut:.0f} of {examples:.0f} questions of {split} are cut to {tokens:.0f} tokens",
    "cut-examples": (
        "{cut:.0f} of {examples:.0f} examples of {split} lose what is beyond the limit of {tokens:.0f} tokens"
    ),
    "unreadable-words": (
        "{count:.0f} of {examples:.0f} sentences of {split} have words that give no token, which no model can tag"
    ),
    "windows": "{split}: {examples:.0f} examples in {windows:.0f} windows of up to {tokens:.0f} tokens",
    FAILED_LATER: "evaluating further examples failed ({reason}); repeat the command to go on",
    # How training went.
    "left-out": "{count:.0f} of {examples:.0f} training examples have nothing that gives a token: left out",
    "resumed": "went on from step {step:.0f} of an interrupted run",
    "together": "trained by {processes:.0f} processes together, {examples:.0f} examples each at a time",
    "indistinct": (
        "{split} cannot tell whether anything was learned: its score is {score:.1f}, the most there is, "
        "and {baseline} alone gives {trivial:.1f}"
    ),
    "not-learned": ("diverged or learned nothing: its score is {score:.1f}, and {baseline} alone gives {trivial:.1f}"),
    "taken-over": "result of run {run}, not run again",
}
NAMES_ITS_TASK = frozenset({OF_DATA})  # in its own words
LISTED = frozenset({"run"})  # names that stand side by side where nothing else differs


def _fields(kind: str) -> dict[str, str]:
    """Return by field of a kind's words its format, '' for a name."""
    parts = Formatter().parse(WORDINGS[kind])
    return {name: spec or "" for _, name, spec, _ in parts if name is not None}


@dataclass(frozen=True)
class Caution:
    """What a reader should know. `subject` is whom it is about where that is not the whole record; `facts` fill the words.

    A kind that this version does not know is of a newer one, and shown by its facts.
    """

    kind: str
    subject: str | None = None
    facts: dict[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fact in self.facts.items():
            if not isinstance(fact, str) and not math.isfinite(fact):
                raise ValueError(f"warning of kind {self.kind!r:.60}: {name!r:.60} is {fact!r:.60}")
        if self.kind not in WORDINGS:
            return
        wanted = {name: not spec for name, spec in _fields(self.kind).items()}
        if {name: isinstance(fact, str) for name, fact in self.facts.items()} != wanted:
            raise ValueError(f"warning of kind {self.kind!r} has facts {', '.join(self.facts) or 'of none'!r:.60}")

    def __hash__(self) -> int:
        return hash((self.kind, self.subject, frozenset(self.facts.items())))

    @property
    def likeness(self) -> tuple[str, frozenset[tuple[str, str]]]:
        """What cautions share that differ in subject and figures alone: they can be shown in one line."""
        names = {name: fact for name, fact in self.facts.items() if isinstance(fact, str) and name not in LISTED}
        return self.kind, frozenset(names.items())

    def __str__(self) -> str:
        words = in_words([self])
        return f"{self.subject}: {words}" if self.subject else words


def caution(kind: str, subject: str | None = None, /, **facts: str | float) -> Caution:
    """Make a caution with the facts that its kind's words need."""
    return Caution(kind, subject, facts)


def in_words(alike: Sequence[Caution]) -> str:
    """Put cautions of one likeness into words, without their subjects: figures that differ are a range."""
    first = alike[0]
    facts = {name: [caution.facts[name] for caution in alike] for name in first.facts}
    if first.kind not in WORDINGS:
        told = ", ".join(f"{name} {_figure_range(values, '')}" for name, values in facts.items())
        return f"{first.kind} ({told})" if told else first.kind
    parts = Formatter().parse(WORDINGS[first.kind])
    return "".join(text + (_shown(facts, name, spec or "") if name else "") for text, name, spec, _ in parts)


def _shown(facts: Mapping[str, Sequence[str | float]], name: str, spec: str) -> str:
    if spec:
        return _figure_range(facts[name], spec)
    return ", ".join(dict.fromkeys(map(str, facts[name])))


def _figure_range(values: Sequence[str | float], spec: str) -> str:
    """Write '7 to 12', or '7' where all read alike; names side by side."""
    figures = sorted(value for value in values if not isinstance(value, str))
    if len(figures) < len(values):
        return ", ".join(dict.fromkeys(map(str, values)))
    low, high = f"{figures[0]:{spec}}", f"{figures[-1]:{spec}}"
    return low if low == high else f"{low} to {high}"
