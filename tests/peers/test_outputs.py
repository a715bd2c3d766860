"""Reading what bertbench and other tools print, without any of them."""

import json

import pytest

from tests.peers import outputs

SUMMARY = """
Scenario : SingleStream
90.0th percentile latency (ns) : 761826
Result is : VALID
  Early stopping satisfied: Yes
Early Stopping Result:
 * Processed at least 64 queries (100).
 * Would discard 2 highest latency queries.
 * Early stopping 90.0th percentile estimate: 4271548
 * Not enough queries processed for 99.0th percentile
 early stopping estimate (would need to process at
 least 662 total queries).
50.00 percentile latency (ns)   : 165176
90.00 percentile latency (ns)   : 761826
"""
TOO_FEW = """
Result is : INVALID
Early Stopping Result:
 * Only processed 60 queries.
 * Need to process at least 64 queries for early stopping.
90.00 percentile latency (ns)   : 5
"""


def test_latencies_of_bertbench():
    """The median of each model and back-end is read, whatever else the CSV holds."""
    text = (
        "model,quantity,statistic,value,backend\n"
        "bert,parameters,unique,5,\n"
        "bert,latency,median,0.25,eager\n"
        "bert,latency,p90,0.3,eager\n"
        "bert,latency,median,0.125,onnxruntime\n"
        "albert,latency,median,,eager\n"
    )
    assert outputs.bertbench_latencies(text) == {("bert", "eager"): 0.25, ("bert", "onnxruntime"): 0.125}


def test_absent_latencies_of_bertbench_are_no_figures():
    """A report without a latency is refused, not compared."""
    with pytest.raises(AssertionError, match="no latencies"):
        outputs.bertbench_latencies("model,quantity,statistic,value,backend\nbert,latency,median,,eager\n")


def test_latencies_of_onnxruntime():
    """Milliseconds become seconds, by model."""
    text = "engine,model_name,average_latency_ms,QPS\nonnxruntime,bert-base-cased,250.00,4\nonnxruntime,other,50,20\n"
    assert outputs.onnxruntime_latencies(text) == {"bert-base-cased": 0.25, "other": 0.05}


def test_latency_of_optimum():
    """The median forward pass is read, and another unit than seconds is refused."""
    latency = {"unit": "s", "values": [1.0, 2.0], "mean": 1.5, "p50": 1.25}
    assert outputs.optimum_latency(json.dumps({"forward": {"latency": latency}})) == 1.25
    with pytest.raises(AssertionError):
        outputs.optimum_latency(json.dumps({"forward": {"latency": latency | {"unit": "ms"}}}))


def test_verdict_of_loadgen():
    """Verdict, p90 and what early stopping says are read from a summary."""
    assert outputs.loadgen_result(SUMMARY) == outputs.LoadgenResult(
        is_valid=True, p90_ns=761826, needed=64, discarded=2, estimate_ns=4271548
    )


def test_verdict_of_loadgen_on_too_few():
    """Of too few queries there is no estimate, and the number that is needed."""
    assert outputs.loadgen_result(TOO_FEW) == outputs.LoadgenResult(
        is_valid=False, p90_ns=5, needed=64, discarded=None, estimate_ns=None
    )


def test_latencies_of_loadgen():
    """Nanoseconds are read from the trace in the order in which the queries were issued."""
    lines = [
        '{"name":"Sample","ph":"b","args":{"sample_seq":10,"query_seq":10,"issue_start_ns":0,"complete_ns":7}},',
        '{"name":"Sample","ph":"e","ts":381.9},',
        '{"name":"Sample","ph":"b","args":{"sample_seq":9,"query_seq":9,"issue_start_ns":0,"complete_ns":8}},',
    ]
    assert outputs.loadgen_latencies("\n".join(lines)) == [8, 7]


def test_throughput_of_loadgen():
    """Samples per second are read from the summary of an Offline run."""
    assert outputs.loadgen_throughput("Mode     : PerformanceOnly\nSamples per second: 1095.91\n") == 1095.91
