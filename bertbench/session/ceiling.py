"""The machine's ceiling in the session that models are timed in: once before, once after."""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.errors import BertBenchError
from bertbench.models.sources import Encoder
from bertbench.records.record import Failure, Measurement
from bertbench.session.run import Session
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.calibration import SQUARES, Size, ceiling, model_sizes
from bertbench.speed.watch import slower_at_the_end
from bertbench.units import duration, flop_rate

TORCH_DTYPES = ("fp32", "bf16", "fp16")


class Ceilings:
    """Rates by number format, in FLOP/s: measured when this is made, and checked by `finish`."""

    def __init__(self, session: Session, encoders: Sequence[Encoder], timing: TimingSpec) -> None:
        options = session.request.options
        wanted = options.dtypes or (options.dtype,)
        self._settings = {
            dtype: ExecutionSettings(options.device, dtype, options.threads)
            for dtype in TORCH_DTYPES
            if dtype in wanted or dtype == "fp32"
        }
        self._session = session
        self.rates: dict[str, list[float]] = {}
        self._sizes: dict[str, Size] = {}
        # The largest takes seconds and is seldom the fastest: where the ceiling is not the question it is left out.
        squares = SQUARES if session.request.command == "speed" else SQUARES[:-1]
        sizes = (*squares, *_sizes(encoders, timing))
        for number, (dtype, settings) in enumerate(self._settings.items()):
            session.progress("measuring the machine's ceiling", number, len(self._settings))
            found = ceiling(settings, sizes)
            if found is not None:
                self.rates[dtype] = [found[0]]
                self._sizes[dtype] = found[1]
        session.progress("measuring the machine's ceiling", 1, 1)

    def finish(self) -> list[str]:
        """Measure the best size again; a warning if the machine has become slower."""
        warnings = []
        for dtype, size in self._sizes.items():
            found = ceiling(self._settings[dtype], [size])
            if found is not None:
                self.rates[dtype].append(found[0])
            warnings += slower_at_the_end(self.rates[dtype])
        return warnings

    def too_slow(self, encoder: Encoder, dtype: str, timing: TimingSpec) -> Failure | None:
        """Why no pass of a model would end in time: a processor without instructions for a format is hundreds of times slower.

        A pass of the smallest fixed shape at the ceiling is compared with the time that a turn may take.
        """
        from bertbench.models.architecture import config_of
        from bertbench.models.size import count_flops

        fixed = [(shape.batch_size, shape.sequence_length) for shape in timing.shapes if shape.sequence_length]
        if dtype not in self.rates or dtype == "fp32" or not fixed:
            return None
        batch_size, length = min(fixed, key=lambda shape: shape[0] * shape[1])
        rate = max(self.rates[dtype])
        try:
            seconds = count_flops(config_of(encoder.spec, encoder.source.folder), batch_size, length) / rate
        except BertBenchError:
            return None  # timing reports it
        if 2 * seconds < timing.timeout_s:  # a turn has two passes at least
            return None
        return Failure(
            "TimedOut",
            f"{encoder.spec.name}: a pass in {dtype} would take {duration(seconds)} or more, since this machine reaches "
            f"{flop_rate(rate)} in it",
            "use fp32 here",
        )

    def measurements(self, dtype: str) -> tuple[Measurement, ...]:
        """The ceiling in a number format, both readings; none for a format that torch does not multiply in (int8)."""
        rates, size = self.rates.get(dtype), self._sizes.get(dtype)
        if rates is None or size is None:
            return ()
        note = f"fastest at {' x '.join(map(str, size))}"
        return (Measurement("ceiling", "FLOP/s", tuple(rates), statistic=dtype, note=note),)


def _sizes(encoders: Sequence[Encoder], timing: TimingSpec) -> list[Size]:
    """The models' own products at the largest fixed shape."""
    from bertbench.models.architecture import config_of
    from bertbench.models.size import inner_size

    tokens = max((shape.batch_size * (shape.sequence_length or 0) for shape in timing.shapes), default=0)
    found: list[Size] = []
    for encoder in encoders:
        try:
            config = config_of(encoder.spec, encoder.source.folder)
        except BertBenchError:
            continue  # timing reports it
        inner = inner_size(config)
        if tokens and inner:
            found += model_sizes(tokens, int(config.hidden_size), inner)
    return list(dict.fromkeys(found))
