"""Evaluation against the machine's ceiling: questions on BERT-base, from texts to scores, block by block with the ceiling between.

Real questions come from the stand-in hub beside the checkout; without it these bars are skipped. The ceiling is that of torch's own linear
layers: where evaluation multiplies with a faster library (`bertbench/models/products.py`), its share may exceed 100 %.
"""

import statistics
import time

import pytest

from bertbench.quality.trainer import has_bf16
from bertbench.speed.calibration import SQUARES, ceiling, model_sizes
from tests.bench.scale import SCALE

pytestmark = [pytest.mark.bench_full, pytest.mark.shared, pytest.mark.timeout(1800)]

BLOCKS = 4
LEAST_OF_CEILING = 0.70


@pytest.fixture(scope="module")
def work(hub_in_process, make_model, threads):
    """Evaluating BERT of random weights on a few questions of SQuAD, with the vocabulary of MiniLM, which is BERT's."""
    import huggingface_hub

    from bertbench.models.sources import Source
    from bertbench.quality.work import Work
    from bertbench.specs.catalog import Catalog
    from bertbench.tasks import data

    vocabulary = huggingface_hub.snapshot_download("sentence-transformers/all-MiniLM-L6-v2", endpoint=hub_in_process)
    task, folder = Catalog().task("squad"), make_model(SCALE.base, vocab_size=30522, max_position_embeddings=512)
    examples = data.load(task, "validation").take(SCALE.evaluated_questions)
    source = Source(Catalog().model(SCALE.base), folder, vocabulary, "pretrained", "d")
    return Work(
        source, task, "fine-tune", task.training, 0, "cpu", "fp32", bf16_training=False, threads=threads,
        train=examples, splits=(examples,),
    )  # fmt: skip


def blocks_of(examples):
    """The examples in as many equal blocks."""
    size = len(examples) // BLOCKS
    return [examples.at(range(start, start + size)) for start in range(0, size * BLOCKS, size)]


def operations(ready, features):
    """Floating-point operations of all windows, their own tokens only."""
    from collections import Counter

    from bertbench.models.size import count_flops

    lengths = Counter(len(row["input_ids"]) for row in features.rows)
    return sum(count * count_flops(ready.model.config, 1, length) for length, count in lengths.items())


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_evaluation_reaches_its_share_of_the_ceiling(work, figures, threads, dtype):
    """From tokenizing to scores a block of questions takes at most 1 / 0.7 of the time that its products take at the ceiling."""
    from dataclasses import replace

    from bertbench.quality import features as kept
    from bertbench.quality import run
    from bertbench.quality.evaluate import evaluate, torch_dtype
    from bertbench.records.progress import silent
    from bertbench.specs.timing import ExecutionSettings
    from bertbench.speed.workers import preload

    if dtype == "bf16" and not has_bf16("cpu"):
        pytest.skip("this processor has no bf16")
    ready = run.prepare(work)
    ready.model = ready.model.to(torch_dtype(dtype))
    config = ready.model.config
    sizes = [*SQUARES, *model_sizes(4096, config.hidden_size, config.intermediate_size)]
    settings = ExecutionSettings(threads=threads, dtype=dtype)
    preload([work.source.folder])
    before, shares = ceiling(settings, sizes), []
    for block in blocks_of(work.splits[0]):
        flops = operations(ready, ready.features(work.task, block))
        kept._kept.clear()  # tokenizing is part of the time
        start = time.perf_counter()
        evaluate(replace(work, splits=(block,)), ready, silent)
        seconds = time.perf_counter() - start
        after = ceiling(settings, sizes)
        best = max(before[0], after[0])
        shares.append(flops / seconds / best)
        figures.note(
            f"{dtype}, {len(block)} questions: {seconds:.1f} s, {flops / seconds / 1e9:.0f} of {best / 1e9:.0f} GFLOP/s"
        )
        before = after
    share = statistics.median(shares)
    figures.judge(
        f"evaluation of {SCALE.base} on SQuAD in {dtype}, share of the ceiling", f"{share:.1%}",
        f">= {LEAST_OF_CEILING:.0%}", holds=share >= LEAST_OF_CEILING,
    )  # fmt: skip
