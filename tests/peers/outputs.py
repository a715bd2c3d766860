"""What bertbench and other tools print or write, read into seconds."""

import csv
import io
import json
import re
from dataclasses import dataclass


def bertbench_latencies(text):
    """Read the CSV of `bertbench speed`: by model and back-end the median seconds of a pass."""
    rows = csv.DictReader(io.StringIO(text))
    seconds = {
        (row["model"], row["backend"]): float(row["value"])
        for row in rows
        if (row["quantity"], row["statistic"]) == ("latency", "median") and row["value"]
    }
    assert seconds, f"no latencies in {text[:500]!r}"
    return seconds


def onnxruntime_latencies(text):
    """Read the CSV of details of `onnxruntime.transformers.benchmark`: by model the mean seconds of a pass."""
    rows = csv.DictReader(io.StringIO(text))
    return {row["model_name"]: float(row["average_latency_ms"]) / 1e3 for row in rows}


def optimum_latency(text):
    """Read the report of optimum-benchmark: the median seconds of a forward pass."""
    latency = json.loads(text)["forward"]["latency"]
    assert latency["unit"] == "s", latency["unit"]
    return float(latency["p50"])


@dataclass(frozen=True)
class LoadgenResult:
    """LoadGen's verdict and figures; nanoseconds. `estimate_ns` is None where early stopping has too few queries."""

    is_valid: bool
    p90_ns: int
    needed: int
    discarded: int | None
    estimate_ns: int | None


def loadgen_result(text):
    """Read LoadGen's summary of a SingleStream run."""

    def number(pattern):
        match = re.search(pattern, text)
        return None if match is None else int(match[1])

    verdict = re.search(r"Result is : (VALID|INVALID)", text)
    assert verdict is not None, f"no verdict in {text[:500]!r}"
    return LoadgenResult(
        is_valid=verdict[1] == "VALID",
        p90_ns=number(r"90\.00 percentile latency \(ns\)\s*: (\d+)"),
        needed=number(r"(?:Processed at least|Need to process at least) (\d+) queries"),
        discarded=number(r"Would discard (\d+) highest"),
        estimate_ns=number(r"90(?:\.0)?th percentile estimate: (\d+)"),
    )


def loadgen_latencies(text):
    """Read LoadGen's trace: the nanoseconds of every query, in the order they were issued."""
    samples = re.findall(r'"sample_seq":(\d+).*?"complete_ns":(\d+)', text)
    return [int(latency) for _, latency in sorted(samples, key=lambda sample: int(sample[0]))]


def loadgen_throughput(text):
    """Read LoadGen's summary of an Offline run: samples per second."""
    return float(re.search(r"Samples per second: ([\d.e+]+)", text)[1])
