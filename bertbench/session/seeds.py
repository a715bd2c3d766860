"""The seeds that a command trains with: one for both initialization and data, or a grid of two kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.errors import UsageError

if TYPE_CHECKING:
    from bertbench.session.options import StudyOptions

MOST_SEEDS = 1000
LARGEST_SEED = 2**32 - 1  # numpy's


def seeds_of(chosen: StudyOptions, default_count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the seeds of initialization, and those of the data where they have their own.

    Raises:
        UsageError: as `parse_seeds` and `parse_seed_grid`.
    """
    if chosen.init_seeds is None and chosen.data_seeds is None:
        return parse_seeds(chosen.seeds, chosen.seed, default_count), ()
    return parse_seed_grid(chosen.init_seeds, chosen.data_seeds, chosen.seeds, chosen.seed)


def parse_seeds(seeds: str | None, first: int | None, default_count: int, option: str = "--seeds") -> tuple[int, ...]:
    """Read the seeds: `--seeds N` is a count, a comma list is literal, and `--seed S` is the first of a count.

    Raises:
        UsageError: not numbers, none, too many, negative or too large, or both a list and a first seed.
    """
    start = 0 if first is None else first
    if not 0 <= start <= LARGEST_SEED - MOST_SEEDS:
        raise UsageError(f"--seed {start}: must be 0 or more" if start < 0 else f"--seed {start}: too large")
    if seeds is None:
        return tuple(range(start, start + default_count))
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise UsageError(f"{option} {seeds}: expected a count such as 3, or a list such as 0,1,2") from None
    if "," in seeds:
        if first is not None:
            raise UsageError("--seed goes with a count, not with a list of seeds", "leave --seed out")
        if not 0 <= min(numbers) <= max(numbers) <= LARGEST_SEED or len(set(numbers)) != len(numbers):
            raise UsageError(f"{option} {seeds}: seeds must be from 0 to {LARGEST_SEED} and each given once")
        return tuple(numbers)
    if not 1 <= numbers[0] <= MOST_SEEDS:
        limit = "at least 1 seed is" if numbers[0] < 1 else f"at most {MOST_SEEDS} seeds are"
        hint = f"{option} N is a count; --seed S picks the first"
        raise UsageError(f"{option} {numbers[0]}: {limit} {'needed' if numbers[0] < 1 else 'taken'}", hint)
    return tuple(range(start, start + numbers[0]))


def parse_seed_grid(
    init: str | None, data: str | None, seeds: str | None, first: int | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read the seeds of a grid: those that initialize, and those of the data; what is not said is one seed.

    Raises:
        UsageError: as `parse_seeds`, or --seeds is given too, or there are too many pairs.
    """
    if seeds is not None:
        raise UsageError("--seeds sets one seed for both", "take either --seeds, or --init-seeds and --data-seeds")
    options = {"--init-seeds": init, "--data-seeds": data}
    inits, of_data = (parse_seeds(text, first, 1, option) for option, text in options.items())
    if len(inits) * len(of_data) > MOST_SEEDS:
        pairs = f"{len(inits)} x {len(of_data)} = {len(inits) * len(of_data):,}"
        raise UsageError(f"--init-seeds, --data-seeds: {pairs} pairs of seeds, at most {MOST_SEEDS:,} are taken")
    return inits, of_data
