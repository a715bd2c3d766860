"""The report of `bertbench calibrate`: the noise of a machine, and the smallest difference seen in a given time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bertbench.records.machines import Noise
from bertbench.report.row import Report, Row, Table
from bertbench.report.tables.figures import fields_of_shape
from bertbench.stats.estimate import Method, MethodKind, Replications
from bertbench.stats.repetitions import MOST_TURNS
from bertbench.stats.stopping import detectable, expected_half_width
from bertbench.units import duration, flop_rate, small_percent

COLUMNS = ("Time given", "Rounds", "Half-width to expect", "Smallest difference seen")
TIMES_S = (30, 60, 120, 300, 600)
WIDE = 2.0  # upper over lower bound of the noise
ROUNDS_FOR_NOISE = 18  # from so many on it is below WIDE


def build_noise(
    noise: Noise,
    *,
    weights: str | None = None,
    checkpoint: str | None = None,
    ceiling: float | None = None,
    turns: int = 1,
    warnings: Sequence[str] = (),
) -> Report:
    """Report the noise, the ratio of the model to itself, and what can be seen in the times of TIMES_S.

    Args:
        noise: an A/A session.
        weights: where the model's weights came from, as in records.
        checkpoint: the model's.
        ceiling: of the machine, in FLOP/s.
        turns: in a round.
        warnings: of the session.
    """
    best = noise.best_turns if noise.best_turns != noise.turns_of_round else None
    title = f"{noise.model} against itself, {noise.shape}, {noise.backend}, {noise.dtype}, {noise.device}"
    base = replace(_base(noise), weights=weights, checkpoint=checkpoint)
    tables = (
        Table(title, ("Quantity", "Value"), _facts(noise, ceiling), kinds=("text", "number")),
        Table(
            "What can be seen of two models of this cost, timed side by side",
            (*COLUMNS, *([f"Half-width with {best} turns a round"] if best else ())),
            tuple(
                (*_line(noise, seconds), *([_half_with(noise, seconds, best)] if best else ())) for seconds in TIMES_S
            ),
            kinds=("text", *("number",) * (len(COLUMNS) if best else len(COLUMNS) - 1)),
        ),
    )
    rows = [_noise_row(noise, base), *_component_rows(noise, base)]
    for seconds in TIMES_S:
        rows += _time_rows(noise, seconds, base)
    return Report("Noise of this machine", tables, tuple(rows), (*_notes(noise, turns), *warnings))


def _facts(noise: Noise, ceiling: float | None) -> tuple[tuple[str, str], ...]:
    low, high = noise.sd_interval
    ratio = _ratio(noise)
    facts = [
        ("Noise between rounds (standard deviation)", small_percent(noise.sd)),
        ("Its 95% interval", f"{small_percent(low)} to {small_percent(high)}"),
        ("Rounds", str(noise.rounds)),
        ("Time a round", duration(noise.round_s)),
        (f"{noise.model} over itself", f"{ratio[0]:.4f}"),
        ("Its 95% interval", f"{ratio[1]:.4f} to {ratio[2]:.4f}"),
    ]
    facts += [(title, small_percent(deviation)) for title, _, deviation in _levels(noise)]
    if noise.best_turns is not None:
        more = " or more" if noise.best_turns == MOST_TURNS else ""
        facts.append(("Turns a round, and how many would be best", f"{noise.turns_of_round}, {noise.best_turns}{more}"))
    if ceiling is not None:
        threads = f"{noise.threads} thread{'s' if noise.threads != 1 else ''}"
        facts.append((f"Ceiling of the machine ({noise.dtype}, {threads})", flop_rate(ceiling)))
    return tuple(facts)


def _levels(noise: Noise) -> list[tuple[str, str, float]]:
    """List title, statistic and standard deviation of what each level adds to the noise, as far as known."""
    parts, levels = noise.components, []
    if noise.pass_variance is not None:
        levels.append(("Passes within a turn (standard deviation)", "passes", math.sqrt(noise.pass_variance)))
    if parts is not None:
        levels.append(("Turns within a round", "turns", math.sqrt(parts.turns)))
        levels.append(("Rounds, beyond what their turns explain", "rounds", math.sqrt(max(parts.rounds, 0.0))))
    return levels


def _half_with(noise: Noise, seconds: float, turns: int) -> str:
    """Write the half-width to expect in a time of rounds with so many turns; nothing where fewer than two fit."""
    expected = noise.with_turns(turns, seconds)
    if expected is None or expected[1] < 2:
        return ""
    return f"±{small_percent(math.expm1(expected_half_width(*expected)))}"


def _component_rows(noise: Noise, base: Row) -> list[Row]:
    """Build a row of what each level adds, and one of the best number of turns."""
    common = replace(base, unit="1", n=noise.rounds, n_unit="rounds")
    rows = [
        replace(common, quantity="noise", statistic=statistic, value=deviation)
        for _, statistic, deviation in _levels(noise)
    ]
    if noise.best_turns is not None:
        rows.append(replace(common, quantity="best_turns", value=noise.best_turns))
    return rows


def _ratio(noise: Noise) -> list[float]:
    """Return the ratio of the model to itself and its bounds."""
    return [math.exp(log) for log in noise.interval]


def _seen(noise: Noise, seconds: float) -> tuple[int, float, float] | None:
    """Compute the rounds that fit into a time, the relative half-width to expect, and the smallest difference seen.

    None where fewer than two rounds fit.
    """
    rounds = noise.rounds_in(seconds)
    if rounds < 2:
        return None
    # Both are of logarithms; `expm1` makes them relative.
    return rounds, math.expm1(expected_half_width(noise.sd, rounds)), math.expm1(detectable(noise.sd, rounds))


def _line(noise: Noise, seconds: float) -> tuple[str, str, str, str]:
    seen = _seen(noise, seconds)
    if seen is None:
        return duration(seconds), str(noise.rounds_in(seconds)), "", ""
    rounds, half, smallest = seen
    return duration(seconds), str(rounds), f"±{small_percent(half)}", small_percent(smallest)


def _time_rows(noise: Noise, seconds: int, base: Row) -> list[Row]:
    seen = _seen(noise, seconds)
    if seen is None:
        return []
    rounds, half, smallest = seen
    common = replace(base, unit="1", n=rounds, n_unit="rounds")
    return [
        replace(common, quantity="noise", statistic=f"half-width in {seconds} s", value=half),
        replace(common, quantity="detectable_difference", statistic=f"in {seconds} s", value=smallest),
    ]


def _base(noise: Noise) -> Row:
    """Fill what all rows share."""
    return Row(
        model=noise.model,
        device=noise.device,
        backend=noise.backend,
        dtype=noise.dtype,
        threads=noise.threads,
        status="ok",
        **fields_of_shape(noise.shape),
    )


def _noise_row(noise: Noise, base: Row) -> Row:
    """Build the row of the standard deviation between rounds, in log units, and the ratio it came with."""
    low, high = noise.sd_interval
    ratio = _ratio(noise)
    return replace(
        base,
        quantity="noise",
        statistic="standard-deviation",
        unit="1",
        value=noise.sd,
        low=low,
        high=high,
        method=Method(MethodKind.CHI_SQUARE, (noise.rounds,), "rounds", Replications.ROUND_LOG_RATIOS),
        n=noise.rounds,
        n_unit="rounds",
        reference=noise.model,
        ratio=ratio[0],
        ratio_low=ratio[1],
        ratio_high=ratio[2],
    )


def _notes(noise: Noise, turns: int) -> list[str]:
    """Write what to make of the figures, the worst first."""
    low, high = noise.sd_interval
    notes = []
    if not noise.contains_one:
        notes.append(
            "1.0 is NOT in the interval of the model over itself. By chance this happens once in 20 times; if it shows "
            "again, other programs disturb the timing: trust no ratio measured here before it is gone"
        )
    if high > WIDE * low:
        needed = duration(noise.start_s + ROUNDS_FOR_NOISE * noise.round_s)
        notes.append(
            f"{noise.rounds} rounds tell the noise roughly, {small_percent(low)} to {small_percent(high)}; "
            f"{ROUNDS_FOR_NOISE} rounds or more, about {needed}, tell it better"
        )
    if noise.best_turns is not None:
        notes.append(
            "best turns: of Kalibera & Jones 2013, from what turns and rounds add and what they cost; where few rounds fit into the time, "
            "fewer turns are better, as the half-widths tell. `compare` and `run` take them from their suite's YAML: timing, turns"
        )
    notes.append(
        "smallest difference seen: found significant (two-sided, 5%) in 4 of 5 sessions; "
        f"rounds are of {turns} turns, and more or slower models take longer a round"
    )
    return notes
