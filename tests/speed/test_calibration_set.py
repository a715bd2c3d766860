"""What static quantizations take their ranges from: written for another process, and known by its content."""

from dataclasses import replace

from bertbench.models.token_ids import Encoded
from bertbench.speed.calibration_set import CalibrationSet

ROWS = (Encoded((2, 7, 3)), Encoded((2, 8, 9, 3), (0, 0, 1, 1)))
SET = CalibrationSet("demo", "train", ROWS)


def test_what_is_written_is_read(tmp_path):
    """Ids and token types survive; a folder without the file has no set."""
    assert CalibrationSet.read(tmp_path) is None
    SET.write(tmp_path)
    assert CalibrationSet.read(tmp_path) == SET
    assert CalibrationSet.read(tmp_path).digest == SET.digest


def test_content_decides_not_the_name():
    """Another text, order or token type is another set; the task's name is not looked at."""
    assert replace(SET, task="other").digest == SET.digest
    others = [ROWS[::-1], ROWS[:1], (ROWS[0], Encoded(ROWS[1].ids)), (Encoded((2, 7, 4)), ROWS[1])]
    assert len({SET.digest, *(replace(SET, rows=rows).digest for rows in others)}) == 5


def test_records_name_it():
    """A record holds no texts, but where they are from and how many they are."""
    assert SET.facts == {"task": "demo", "split": "train", "examples": 2, "digest": SET.digest}
