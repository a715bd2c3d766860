"""The engine against a bare loop in the same run, against the machine's ceiling, and what it costs by itself.

How engine and bare loop are made comparable stands in `tests/bench/bare.py`. The figure is the median over all turns of the
engine's median pass over the bare loop's in the same turn; the t-interval over rounds beside it says how well it is known.
"""

import gc
import json
import statistics
import time
from dataclasses import dataclass

import numpy as np
import pytest

from bertbench.records.sidecars import TimingRow
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed.calibration import SQUARES, ceiling, model_sizes
from bertbench.speed.servant import Servant, WorkerPlan
from bertbench.speed.workers import preload
from bertbench.stats.intervals import paired_ratio
from tests.bench.bare import BARE, over_bare, take_turns, turn_medians
from tests.bench.scale import SCALE

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

MINI = ShapeSpec(batch_size=1, sequence_length=32, warmup_passes=20)
BASE = ShapeSpec(batch_size=1, sequence_length=128, warmup_passes=4)
BATCHED = ShapeSpec(batch_size=8, sequence_length=128, turns=SCALE.batched_turns, warmup_passes=1)
WITHIN = 0.02
LEAST_OF_CEILING, LEAST_OF_BARE = 0.85, 0.98
MOST_OVERHEAD_S = 20e-6


@dataclass(frozen=True)
class Run:
    """Rows of the one run, the operations of a batched pass, and the ceiling in FLOP/s, the best reading of two."""

    rows: tuple[TimingRow, ...]
    batched_flops: int
    ceiling: float

    def ratio(self, model, shape):
        """The median turn's ratio to the bare loop, and a text of it."""
        ratios = over_bare(self.rows, model, shape.label)
        rounds = {}
        for (number, turn), ratio in ratios.items():
            rounds.setdefault(number, []).append((ratio, turn))
        pairs = [(np.array([ratio for ratio, _ in of]), np.ones(len(of))) for of in rounds.values()]
        found = statistics.median(ratios.values())
        interval = paired_ratio(pairs)
        ours, theirs = self.median(model, shape), self.median(BARE + model, shape)
        return found, (
            f"{found:.4f} (interval {interval.low:.4f} to {interval.high:.4f}; "
            f"{ours * 1e3:.3f} ms against {theirs * 1e3:.3f} ms)"
        )

    def median(self, model, shape):
        """A model's median turn in seconds."""
        return statistics.median(turn_medians(self.rows, model, shape.label).values())


@pytest.fixture(scope="module")
def run(make_model, threads):
    """The mini model at 1x32, the base model at 1x128 and 8x128, engine and bare loop in turns; the ceiling around it."""
    import transformers

    from tests.analytic_flops import analytic_flops

    folders = {"base": make_model(SCALE.base), "mini": make_model("bert-mini")}
    configs = {name: transformers.AutoConfig.from_pretrained(folder) for name, folder in folders.items()}
    config = configs["base"]
    settings = ExecutionSettings(threads=threads)
    own = model_sizes(BATCHED.batch_size * BATCHED.sequence_length, config.hidden_size, config.intermediate_size)
    preload(folders.values())
    ceilings = [ceiling(settings, [*SQUARES, *own])]
    rows = take_turns(
        {name: (folder, configs[name].vocab_size) for name, folder in folders.items()},
        TimingSpec(rounds=SCALE.fidelity_rounds, turns=SCALE.fidelity_turns, passes=1, shapes=(MINI, BASE, BATCHED)),
        {"mini": {MINI.label}, "base": {BASE.label, BATCHED.label}},
        threads,
    )
    ceilings.append(ceiling(settings, [*SQUARES, *own]))
    assert None not in ceilings
    flops = analytic_flops(config, BATCHED.batch_size, BATCHED.sequence_length)
    return Run(rows, flops, max(rate for rate, _ in ceilings))


@pytest.mark.parametrize(("model", "shape"), [("base", BASE), ("mini", MINI)], ids=["base", "mini"])
def test_latency_is_that_of_a_bare_loop(model, shape, run, figures):
    """The engine's median latency is within 2 % of a bare loop's."""
    found, text = run.ratio(model, shape)
    figures.judge(
        f"{model} {shape.label}, engine over bare loop", text, f"1 +- {WITHIN}", holds=abs(found - 1) <= WITHIN
    )


def test_batched_throughput_is_that_of_a_bare_loop(run, figures):
    """A batch of 8 goes through the engine at 98 % of a bare loop's rate at least."""
    found, text = run.ratio("base", BATCHED)
    name = f"base {BATCHED.label}, throughput over the bare loop's"
    figures.judge(name, f"{1 / found:.1%}; times: {text}", f">= {LEAST_OF_BARE:.0%}", holds=1 / found >= LEAST_OF_BARE)


def test_batched_throughput_reaches_the_ceiling(run, figures):
    """A batch of 8 reaches 85 % of the rate of the machine's fastest matrix product in the same run."""
    rate = run.batched_flops / run.median("base", BATCHED)
    share = rate / run.ceiling
    figures.judge(
        f"base {BATCHED.label}, share of the ceiling",
        f"{share:.1%} ({rate / 1e9:.0f} of {run.ceiling / 1e9:.0f} GFLOP/s)",
        f">= {LEAST_OF_CEILING:.0%}",
        holds=share >= LEAST_OF_CEILING,
    )


class Nothing:
    """A loaded model whose passes take no time and say that they took `stated_s`."""

    vocabulary, pad_id, attention = 1000, 0, "none"

    def __init__(self, stated_s):
        self.stated_s = stated_s

    def prepare(self, ids, mask, types=None):
        """The ids."""
        del mask, types
        return ids

    def seconds(self, batch):
        """The stated time."""
        del batch
        return self.stated_s, None


@pytest.fixture
def servant(tmp_path):
    """A worker's inside in this process; what it did to the garbage collector is undone."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "fake"}))
    yield Servant(WorkerPlan("nothing", tmp_path, ExecutionSettings(backend="fake")))
    gc.enable()
    gc.unfreeze()


def overhead(servant, passes, min_s):
    """Seconds that a repetition takes, the untimed ones among them, over 50 turns."""
    servant.turn(BASE, 0, passes, min_s)
    count, start = 0, time.perf_counter()
    for index in range(50):
        count += 1 + len(servant.turn(BASE, index, passes, min_s).timed)
    return (time.perf_counter() - start) / count


def judge_overhead(name, found, figures):
    """The bar on a repetition's overhead."""
    name = f"engine overhead a repetition, {name}"
    figures.judge(name, f"{found * 1e6:.2f} us", "< 20 us", holds=found < MOST_OVERHEAD_S)


@pytest.mark.parametrize(
    ("stated_s", "passes", "min_s"),
    [(0.5e-3, 1, 0.03), (50e-6, 1, 0.03), (0.0, 1000, 0.0)],
    ids=["pass of 0.5 ms", "pass of 50 us", "1000 passes"],
)
def test_overhead_of_a_repetition(stated_s, passes, min_s, servant, figures, request):
    """What the engine spends around a pass is below 20 us, in turns of 30 ms of short passes and in turns of many."""
    servant.model = Nothing(stated_s)
    judge_overhead(request.node.callspec.id, overhead(servant, passes, min_s), figures)


def test_overhead_of_a_repetition_in_torch(servant, figures):
    """The same with PyTorch's back-end around a module that does nothing, whose own call counts too."""
    import torch
    import transformers

    from bertbench.speed.backends.eager import EagerModel

    class Empty(torch.nn.Module):
        config = transformers.BertConfig()

        def forward(self, input_ids, **_):
            return (input_ids,)

    servant.model = EagerModel(Empty().eval(), ExecutionSettings())
    judge_overhead("eager PyTorch around an empty module", overhead(servant, 1000, 0.0), figures)
