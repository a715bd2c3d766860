import pytest

from bertbench.errors import BertBenchError, UnavailableError, UsageError
from bertbench.speed import backend
from bertbench.speed.backend import combinations, parse, parse_dtypes, parse_numbers


def test_all_back_ends_begin_with_pytorch():
    """The back-end that all are compared with comes first, and the one for tests is not offered."""
    names = backend.backends()
    assert names[0] == "eager"
    assert "fake" not in names
    found, notes = parse("all", "cpu")
    assert found[0] == "eager"
    assert all("is left out: " in note for note in notes[:-1])


def test_lower_levels_are_measured_by_name():
    """'all' says that it leaves out what only shows where a faster back-end's speed is from, so that it takes no longer."""
    levels = ("onnxruntime-basic", "onnxruntime-extended", "onnxruntime-fused")
    found, notes = parse("all", "cpu")
    assert not set(levels) & set(found)
    assert notes[-1] == f"'all' leaves out what is to be named: {', '.join(levels)}"
    assert set(levels) <= set(backend.backends())


def test_names_are_taken_in_their_order():
    """A list is literal."""
    assert parse("eager", "cpu") == (("eager",), [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "no name given"),
        ("eagre", "did you mean 'eager'"),
        ("all,eager", "stands alone"),
        ("eager,eager", "given twice"),
    ],
)
def test_bad_back_ends(value, message):
    """What cannot be meant is refused with what could be."""
    with pytest.raises(BertBenchError, match=message):
        parse(value, "cpu")


def test_what_is_read_need_not_run_here(monkeypatch):
    """A store may come from a machine with more back-ends; a name that no version has is a slip all the same."""

    def check(name, _):
        raise UnavailableError(f"{name}: the extra is not installed")

    monkeypatch.setattr(backend.exports, "check", check)
    assert parse("onnxruntime,openvino", "cpu", runs=False) == (("onnxruntime", "openvino"), [])
    with pytest.raises(UnavailableError):
        parse("onnxruntime", "cpu")
    with pytest.raises(BertBenchError, match="did you mean 'eager'"):
        parse("eagre", "cpu", runs=False)


def test_formats_of_a_back_end():
    """Each back-end runs in the formats it has; the others are said."""
    pairs, notes = combinations(["eager"], ["fp32", "bf16"])
    assert pairs == [("eager", "fp32"), ("eager", "bf16")]
    assert notes == []


def test_a_back_end_of_one_format_has_it_anyway():
    """int8 is what an int8 back-end runs in, whatever is asked for; none of several is refused."""

    class Int8:
        dtypes = ("int8",)

    class Two:
        dtypes = ("fp32", "fp16")

    load = {"int8": Int8, "two": Two}.__getitem__
    assert combinations(["int8"], ["fp32", "bf16"], load) == ([("int8", "int8")], [])
    assert combinations(["two"], ["fp32", "bf16"], load) == ([("two", "fp32")], ["two does not run in bf16"])
    with pytest.raises(UsageError, match="two runs in fp32, fp16 only"):
        combinations(["two"], ["bf16"], load)


def test_numbers():
    """Whole numbers above 0, each once, none above the limit."""
    assert parse_numbers("--batch-sizes", "8,1") == (8, 1)
    for value, message in (("0", "must be 1 or more"), ("1,x", "whole numbers"), ("2,2", "twice"), ("9", "4 at most")):
        with pytest.raises(UsageError, match=message):
            parse_numbers("--batch-sizes", value, 4)


def test_dtypes():
    """Spellings of number formats are resolved; unknown ones are refused with a guess."""
    assert parse_dtypes("float32,bf16", "cpu") == ("fp32", "bf16")
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        parse_dtypes("bf61", "cpu")
    with pytest.raises(UsageError, match="each number format once"):
        parse_dtypes("fp32,float32", "cpu")
