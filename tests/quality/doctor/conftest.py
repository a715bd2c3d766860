"""A checkpoint that has learnt the toy task, and a copy to be damaged."""

import shutil

import pytest

from bertbench.models.architecture import config_of
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.quality import run
from bertbench.quality.work import Work
from tests.quality.doctor.subjects import LABELS, RECIPE, TASK, source, toy


@pytest.fixture(scope="session")
def learnt(tiny, tmp_path_factory):
    """A checkpoint fine-tuned on the toy task, once for all tests."""
    import torch

    torch.set_num_threads(1)
    folder = tiny(max_position_embeddings=128)
    work = Work(
        source=source(folder), task=TASK, mode="fine-tune", recipe=RECIPE, seed=0, device="cpu", dtype="fp32",
        bf16_training=False, train=toy("train"), splits=(toy("validation"),),
    )  # fmt: skip
    outcome = run.run(work)
    kept = tmp_path_factory.mktemp("learnt")
    outcome.model.save_pretrained(kept)
    build_tokenizer().save_pretrained(kept)
    assert config_of(source(kept).spec, kept).id2label == dict(enumerate(LABELS))
    return kept


@pytest.fixture
def trained(learnt, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(learnt, tmp_path / "trained")
