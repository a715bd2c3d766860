"""Errors: exit codes, hints, did-you-mean."""

import pytest

from bertbench import errors
from bertbench.errors import BertBenchError, ConfigError, UnavailableError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("ConfigError", 2),
        ("HubError", 2),
        ("CheckpointError", 2),
        ("DatasetError", 2),
        ("DeviceError", 2),
        ("StoreError", 2),
        ("MeasurementError", 1),
        ("NothingMeasuredError", 4),
    ],
)
def test_every_error_has_its_exit_code(name, code):
    """Bad input exits with 2, a cell that failed with 1, nothing measured with 4."""
    error = getattr(errors, name)("what", "hint")
    assert isinstance(error, BertBenchError)
    assert error.exit_code == code


def test_text_is_message_then_hint():
    """An error reads as what was found, then what to do, as sentences; without a hint it is the message alone."""
    assert str(BertBenchError("a is broken", "mend it")) == "a is broken. Mend it"
    assert str(BertBenchError("a is broken")) == "a is broken"


def test_what_cannot_be_had_is_one_family():
    """Hub, checkpoint, data set and device can be caught together."""
    for name in ("HubError", "CheckpointError", "DatasetError", "DeviceError"):
        assert issubclass(getattr(errors, name), UnavailableError)


def test_unknown_name_suggests_the_nearest_and_lists_all():
    """A misspelt name, whatever its case, gets the nearest known one and the list of all."""
    error = UnknownNameError("model", "Distilbret", ["bert", "distilbert"])
    assert str(error) == "unknown model 'Distilbret'; did you mean 'distilbert'? Known: bert, distilbert"
    assert isinstance(error, ConfigError)


def test_unknown_name_without_a_near_one_guesses_nothing():
    """A name that resembles none is not guessed at, and an empty list is said to be empty."""
    assert "did you mean" not in str(UnknownNameError("model", "zzz", ["bert"]))
    assert str(UnknownNameError("model", "zzz", [])).endswith("There are no models")
