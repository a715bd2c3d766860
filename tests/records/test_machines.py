import json
import math
from dataclasses import asdict, replace

import pytest
import scipy.stats as reference

from bertbench.errors import StoreError
from bertbench.records.machines import Machine, Noise

NOISE = Noise(
    log_ratios=(0.01, -0.01, 0.02, 0.0),
    round_s=3.0,
    start_s=4.0,
    model="bert",
    shape="1x128",
    device="cpu",
    backend="eager",
    dtype="fp32",
    threads=2,
)


@pytest.fixture
def machine(tmp_path):
    """A machine that nothing is known of."""
    return Machine.load(tmp_path, "abc")


def reloaded(machine):
    """The machine as its file tells it."""
    return Machine.load(machine.path.parents[1], machine.path.stem)


def test_nothing_is_known_at_first(machine, tmp_path):
    """Without a file there is neither a fact nor a warning, and loading creates nothing."""
    assert (machine.warmup("key"), machine.training_dtype("cpu", 2)) == (None, None)
    assert machine.warnings == ()
    assert list(tmp_path.iterdir()) == []


def test_what_is_saved_is_read_again(machine):
    """Warm-up passes and how to train survive; keys tell them apart; other classes have files of their own."""
    machine.with_warmup("a", 4).with_warmup("b", 7).with_training_dtype("cpu", 2, "bf16").save()
    found = reloaded(machine)
    assert (found.warmup("a"), found.warmup("b"), found.warmup("c")) == (4, 7, None)
    assert (found.training_dtype("cpu", 2), found.training_dtype("cpu", 1)) == ("bf16", None)
    assert found.warnings == ()
    assert Machine.load(machine.path.parents[1], "other").warmup("a") is None


def test_machines_are_immutable(machine):
    """Adding a fact gives a copy."""
    machine.with_warmup("a", 4)
    assert machine.warmup("a") is None


def test_an_older_file_is_read(machine):
    """What earlier versions kept of noise and ceilings is passed over without a warning, and the rest is used."""
    machine.path.parent.mkdir()
    older = {"noise": [asdict(NOISE) | {"measured_at": "2026-01-01T00:00:00+00:00"}], "ceilings": {"fp32/2": 1.5e11}}
    facts = {"schema_version": 1, "environment_class": "abc", "warmups": {"a": 4}, "training_dtypes": {"cpu/2": "bf16"}}
    machine.path.write_text(json.dumps(older | facts))
    found = reloaded(machine)
    assert (found.warmup("a"), found.training_dtype("cpu", 2), found.warnings) == (4, "bf16", ())
    found.with_warmup("b", 7).save()
    assert json.loads(machine.path.read_text()) == facts | {"warmups": {"a": 4, "b": 7}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "schema"),
        ('{"schema_version": 1, "environment_class": "xyz"}', "another environment class"),
        ('{"schema_version": 1, "environment_class": "abc", "warmups": {"a": -1}}', "cannot be read"),
        ('{"schema_version": 1, "environment_class": "abc", "warmups": {"a": NaN}}', "NaN is not a finite number"),
        ('{"schema_version": 1, "environment_class": "abc", "training_dtypes": {"cpu/2": "fp7"}}', "cannot be read"),
    ],
)
def test_a_damaged_file_is_a_warning(machine, content, reason):
    """What cannot be read counts as absent, the file is named, and saving replaces it."""
    machine.path.parent.mkdir()
    machine.path.write_text(content)
    found = reloaded(machine)
    assert found.facts.warmups == {}
    (warning,) = found.warnings
    assert str(machine.path) in warning
    assert reason in warning
    found.with_warmup("a", 3).save()
    assert reloaded(machine).warmup("a") == 3
    assert reloaded(machine).warnings == ()


def test_a_newer_file_is_left_alone(machine):
    """A file of a later schema is neither used nor overwritten, and the warning says so."""
    machine.path.parent.mkdir()
    text = json.dumps({"schema_version": 99, "warmups": {"a": 1}})
    machine.path.write_text(text)
    found = reloaded(machine)
    assert found.warmup("a") is None
    assert "newer" in found.warnings[0]
    found.with_warmup("b", 3).save()
    assert machine.path.read_text() == text


def test_a_folder_that_cannot_be_written_to(tmp_path):
    """The error names the file and what to do."""
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        Machine.load(tmp_path / "results", "abc").with_warmup("a", 1).save()
    assert "--results-dir" in caught.value.hint


def test_noise_and_its_interval():
    """The standard deviation is that between rounds, its interval is by chi-square, that of the ratio by Student."""
    sd = math.sqrt(sum((value - 0.005) ** 2 for value in NOISE.log_ratios) / 3)
    assert (NOISE.rounds, NOISE.sd) == (4, pytest.approx(sd))
    bounds = [sd * math.sqrt(3 / reference.chi2.ppf(share, 3)) for share in (0.975, 0.025)]
    assert NOISE.sd_interval == pytest.approx(bounds)
    half = reference.t.ppf(0.975, 3) * sd / 2
    assert NOISE.interval == pytest.approx((0.005, 0.005 - half, 0.005 + half))
    assert NOISE.contains_one
    assert not replace(NOISE, log_ratios=(0.10, 0.11, 0.10, 0.11)).contains_one


def test_rounds_that_fit():
    """Start-up is paid once."""
    assert [NOISE.rounds_in(seconds) for seconds in (3, 7, 9.9, 10, 34)] == [0, 1, 1, 2, 10]


@pytest.mark.parametrize(
    "changes", [{"log_ratios": (0.1,)}, {"log_ratios": (0.1, math.nan)}, {"round_s": 0.0}, {"start_s": math.inf}]
)
def test_noise_that_cannot_be(changes):
    """Too few rounds, numbers that are not finite, and durations of nothing are refused."""
    with pytest.raises(ValueError, match="noise"):
        replace(NOISE, **changes)


def test_byte_order_mark_is_no_damage(machine):
    """A file that an editor has saved again is read as before."""
    machine.with_warmup("a", 4).save()
    machine.path.write_bytes(b"\xef\xbb\xbf" + machine.path.read_bytes())
    assert reloaded(machine).warmup("a") == 4
