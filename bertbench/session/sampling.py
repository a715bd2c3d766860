"""Which examples are evaluated when: in one random order, in growing blocks, as long as there is time.

Every task's first block comes before any task's second, and each is twice what was done before. When a block does not fit
into the time that is left, the task waits; what is left at the end is shared out among those that wait. Time alone decides,
never a score, so that a sample says of the task what any random sample says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bertbench.quality.work import Work
from bertbench.specs import plugins
from bertbench.tasks.examples import SampleOrder

FIRST = 128  # examples of the first block


@dataclass
class Sample:
    """How much of a task is evaluated: `done` examples of each split, or all that a smaller split has.

    `seconds` is what one example takes all of its models together. A task is 'open' until a block does not fit, and then
    waits for what is left in the end.
    """

    orders: tuple[SampleOrder, ...]
    seconds: float
    done: int = 0
    state: Literal["open", "waiting", "ended"] = "open"

    @classmethod
    def of(cls, work: Work, seconds: float) -> Sample:
        """Draw the order of a work's examples; `seconds` is what one takes."""
        kind = plugins.load("bertbench.tasks.kinds", "task kind", work.task.kind)
        return cls(tuple(SampleOrder.draw(len(split), kind.clusters(split)) for split in work.splits), seconds)

    @property
    def total(self) -> int:
        """Examples of the largest split."""
        return max(len(order.places) for order in self.orders)

    def next_block(self) -> int:
        """Return the size of the sample after the next block."""
        return self.within(self.done + max(FIRST, self.done))

    def within(self, count: int) -> int:
        """Return `count`, or all there are where hardly more is left than that."""
        return self.total if count + FIRST // 2 >= self.total else count

    def part(self, split: int, count: int) -> tuple[int, int]:
        """Return from where to where in the order of a split the sample of `count` lies beyond what is done."""
        order = self.orders[split]
        return order.at_least(self.done) if self.done else 0, order.at_least(count)

    def cost(self, count: int) -> float:
        """Expect so many seconds until `count` examples are done."""
        parts = (self.part(split, count) for split in range(len(self.orders)))
        return self.seconds * sum(end - start for start, end in parts)

    def affordable(self, seconds: float) -> int:
        """Return the largest sample whose examples beyond those done fit into `seconds`."""
        order = max(self.orders, key=lambda order: len(order.places))
        count = self.within(self.done + int(seconds / max(self.seconds, 1e-9)))
        while count > self.done and self.cost(count) > seconds:
            count = order.at_most(count - 1)
        return max(count, self.done)


def next_step(samples: Sequence[Sample], left_s: float | None) -> tuple[Sample, int] | None:
    """Choose which sample grows next, and to what size; None when nothing more fits into `left_s` (None: no limit)."""
    while candidates := [sample for sample in samples if sample.state == "open"]:
        sample = min(candidates, key=lambda sample: sample.done)
        if sample.done >= sample.total:
            sample.state = "ended"
            continue
        count = sample.next_block()
        if left_s is None or sample.cost(count) <= left_s:
            return sample, count
        sample.state = "waiting"
    while waiting := [sample for sample in samples if sample.state == "waiting"]:
        sample = waiting[0]
        count = sample.affordable((left_s or 0.0) / len(waiting))
        sample.state = "ended"
        if count > sample.done:
            return sample, count
    return None


def forecast(samples: Sequence[Sample], left_s: float | None) -> list[int]:
    """Expect how many examples of each will be done within `left_s`."""
    copies = [Sample(sample.orders, sample.seconds, sample.done) for sample in samples]
    while (step := next_step(copies, left_s)) is not None:
        sample, count = step
        if left_s is not None:
            left_s -= sample.cost(count)
        sample.done = count
    return [copy.done for copy in copies]
