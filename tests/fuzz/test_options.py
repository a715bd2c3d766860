"""Command lines of every command: options, values and arguments of any kind, with nothing measured."""

import enum
import inspect
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench import cli
from bertbench.errors import MeasurementError
from tests.fuzz.cases import EVIL, fuzzed, run
from tests.fuzz.test_records import fill

# By command the type and the names of each option; an argument has none.
COMMANDS = {
    name: [
        (get_args(parameter.annotation)[0], tuple(get_args(parameter.annotation)[1].param_decls or ()))
        for parameter in inspect.signature(cli.function_of(name), eval_str=True).parameters.values()
    ]
    for name in cli.COMMANDS
}
NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "1.5",
    "1e999",
    "nan",
    "-inf",
    "1e-320",
    str(10**30),
    "9" * 5000,
    "0x10",
    "1_000",
    "१",
    "",
    "x",
)
TEXTS = (
    "all", "bert", "distilbert", "bert,albert", "bert-mini", "demo-sentiment", "demo", "base", "sst2", "none", "run:", "run:x", "run:size-bert",
    "org/x", "../outside", "/dev/null", "/", ".", "", " ", ",", ",,", "a,b", "*", "[", "(?", "é", "x" * 300, EVIL, "--", "-h", "=1+1", "auto", "cpu",
    "cuda:99", "fp32", "2%", "quality,size", "fixed,server", "1,2,x", "20261124T120000-abc123", "save", "task", "claim", "models", "{name}", "%s",
)  # fmt: skip
PATHS = (
    "x.csv",
    "x.json",
    "x.html",
    "x.xlsx",
    "x.md",
    "x.tex",
    "x",
    "results",
    "none",
    "saved",
    "y.parquet",
    "x" * 300,
    EVIL.replace("/", ""),
    "",
)
MEASURING = (
    "session.measure.measure", "session.measure.plan_of", "session.measure.find_weights", "session.students.distil_all",
    "quality.doctor.examination.examine", "commands.calibrate._measured", "models.anatomy.dissect.dissect", "models.anatomy.dissect.rebuild",
    "models.anatomy.clock.timed", "models.size.measure_size", "gate.check.measure_speed", "gate.check.gather",
)  # fmt: skip
words = st.one_of(
    st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.text(max_size=8).filter(lambda text: "/" not in text)
)


def values_of(kind):
    """What to try for an option: values of its kind more often than others."""
    kinds = [kind, *get_args(kind)]
    choices = next(([member.value for member in part] for part in kinds if isinstance(part, enum.EnumMeta)), None)
    if choices:
        return st.one_of(st.sampled_from(choices), words)
    if "Path" in str(kind):
        return st.sampled_from(PATHS)
    if int in kinds or float in kinds:
        return st.one_of(st.sampled_from(NUMBERS), st.integers(-3, 300).map(str), words)
    return words


@st.composite
def command_lines(draw):
    """A command with some of its options, some arguments, and seldom a word that nobody knows."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    line = [name]
    for kind, names in draw(st.lists(st.sampled_from(COMMANDS[name]), max_size=5)):
        if not names:
            line.append(draw(words))
        elif kind is bool:
            line.append(draw(st.sampled_from(names)))
        else:
            line += [draw(st.sampled_from(names)), draw(values_of(kind))]
    if draw(st.integers(0, 9)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(words))
    return line


@pytest.fixture(scope="module")
def measures_nothing(yard):
    """A folder with results, where whatever would load weights or time a model ends in an error of the user's."""

    def refuse(*_, **__):
        raise MeasurementError("nothing is measured here")

    fill(yard.free / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in MEASURING:
            patch.setattr(f"bertbench.{name}", refuse)
        for name in COMMANDS:  # libraries load at their first use, which counts to no case
            run(name)
        yield yard


@fuzzed
@given(command_lines())
def test_any_command_line(measures_nothing, line):
    """Whatever the options, a command ends with one of its exit codes, and with one line where it refuses."""
    with measures_nothing.case():
        run(*line)
