"""What the bars share: models of random weights, and a record of every figure, printed, judged and summed up.

The summary goes to build/bench.txt, or to where BERTBENCH_BENCH_SUMMARY says.
"""

import os
import tempfile
import time
from pathlib import Path

import pytest

from bertbench.records import environment
from tests.bench.scale import SCALE

SUMMARY = Path(os.environ.get("BERTBENCH_BENCH_SUMMARY", Path(__file__).parents[2] / "build" / "bench.txt"))
START = time.monotonic()

lines = []


class Figures:
    """Takes figures down before it judges them, so that the summary holds those that miss their bar too."""

    def __init__(self, config):
        self._terminal = config.get_terminal_writer()
        self._capture = config.pluginmanager.getplugin("capturemanager")

    def note(self, text):
        """A line that is not judged; it is shown at once."""
        lines.append(text)
        with self._capture.global_and_fixture_disabled():
            self._terminal.line(f"\n{text}")
            self._terminal.flush()

    def judge(self, name, figure, bar, *, holds):
        """A figure and its bar, both as text; fails the test where it does not hold, unless the run is a tiny one."""
        verdict = ("ok" if holds else "MISSED") if SCALE.judged else "not judged"
        self.note(f"{name}: {figure} (bar: {bar}) {verdict}")
        assert holds or not SCALE.judged, f"{name}: {figure}, bar: {bar}"


@pytest.fixture
def figures(request):
    """Takes down and judges figures."""
    return Figures(request.config)


@pytest.fixture(scope="session")
def make_model():
    """Saves a model of seeded random weights: `make_model("bert", **changes of its config)` gives its folder."""
    import torch
    import transformers

    from bertbench.models.loading import quiet
    from bertbench.specs.catalog import Catalog

    with tempfile.TemporaryDirectory(prefix="bertbench-bench-") as scratch:

        def make(name, **changes):
            spec = Catalog().model(name)
            folder = Path(tempfile.mkdtemp(prefix=name, dir=scratch))
            with quiet(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                config = transformers.AutoConfig.for_model(spec.architecture, **(spec.config | changes))
                transformers.AutoModel.from_config(config).save_pretrained(folder)
            return folder

        yield make


@pytest.fixture(scope="module")
def hub_in_process(stand_in_hub, tmp_path_factory):
    """The address of the stand-in hub, which the libraries of this process ask meanwhile."""
    from bertbench.models import hub

    before = dict(os.environ)
    os.environ |= {
        "HF_ENDPOINT": stand_in_hub,
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
        "HF_HUB_DISABLE_XET": "1",
    }
    import datasets
    import huggingface_hub

    for module in (huggingface_hub.constants, datasets.config):
        module.HF_ENDPOINT = stand_in_hub
    huggingface_hub.constants.ENDPOINT = stand_in_hub  # read at import, which may be long ago
    huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE = (
        f"{stand_in_hub}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    hub.state.cache_clear()
    yield stand_in_hub
    os.environ.clear()
    os.environ.update(before)
    hub.state.cache_clear()


@pytest.fixture(scope="session")
def threads():
    """Of everything that is timed in this process's children."""
    return SCALE.threads or environment.default_threads()


def _machine():
    packages = environment.package_versions()
    shown = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers") if name in packages)
    return f"{time.strftime('%Y-%m-%d %H:%M')}, {environment.cpu_model()}, {environment.usable_cores()} usable cores, {shown}"


def pytest_terminal_summary(terminalreporter):
    """Print all figures once more and write them to the summary."""
    if not lines:
        return
    text = "\n".join(
        [_machine(), *lines, f"all of this run: {time.monotonic() - START:.0f} s (bar of `make bench`: 900 s)"]
    )
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(f"{text}\n", encoding="utf-8")
    terminalreporter.section(f"figures, also in {SUMMARY}")
    terminalreporter.write_line(text)
