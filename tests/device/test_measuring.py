"""The plan of a benchmark, its rounds, and what it says of operators and of models that do not run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgexfer import device

rounds = device.load("_edgexfer_rounds")
planning = device.load("_edgexfer_plan")
profiling = device.load("_edgexfer_profile")
onnxfile = device.load("_edgexfer_onnxfile")


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (
            "Non-zero status: Failed to allocate memory for requested buffer of size 411",
            "is not enough memory to run it",
        ),
        ("an operator is missing\nand more", "does not run here: an operator is missing$"),
        ("", "does not run here: no reason given"),
    ],
)
def test_why_a_model_does_not_run_is_said(raised: str, says: str) -> None:
    def run() -> None:
        raise Exception(raised)

    with pytest.raises(device.load("_edgexfer_environment").DeviceError, match=says):
        device.load("_edgexfer_measure")._guarded(run)


def job(name: str, turns: int) -> dict[str, Any]:
    return {
        "model": name, "sha256": "", "threads": 1, "runtime": "onnxruntime", "scenario": "single-stream", "batch": 1,
        "spinning": True, "affinity": None, "min_seconds": 9.0, "min_runs": 90, "samples": "s", "labels": "l",
        "labelled": None, "head": None, "verify_only": False, "rounds": turns,
    }  # fmt: skip


def answer(given: Mapping[str, Any], times: list[float], **more: Any) -> dict[str, Any]:
    return {
        "model": given["model"], "threads": 1, "status": "ok", "error": None, "latency_s": times, "load_s": 0.1,
        "first_s": 0.1, "peak_rss_bytes": 10, "observed": {"before": {}, "during": [{}], "after": {}}, **more,
    }  # fmt: skip


def test_configurations_take_turns() -> None:
    asked: list[Mapping[str, Any]] = []

    def measure(given: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(given)
        return answer(given, [0.01 * len(asked)] * 40, peak_rss_bytes=len(asked), load_s=0.1 * len(asked))

    kept: list[int] = []

    def keep(configs: list[dict[str, Any]]) -> None:
        kept.append(sum(len(one["latency_s"]) for one in configs))

    found = rounds.measure_all([job("a", 3), job("b", 3), job("c", 1)], None, measure, lambda: False, keep)
    assert kept == [120, 200], "after each round, for the case of a kill"
    assert "".join(one["model"] for one in asked) == "abcabab"
    assert [one["samples"] for one in asked] == ["s", "s", "s", None, None, None, None], "scored once"
    assert (asked[0]["min_seconds"], asked[0]["min_runs"], asked[2]["min_seconds"]) == (3.0, 30, 9.0)
    a, _, c = found
    assert len(a["latency_s"]) == 120 and len(a["observed"]["during"]) == 3
    assert [(r["begin"], r["count"]) for r in a["rounds"]] == [(0, 40), (40, 40), (80, 40)]
    assert (a["peak_rss_bytes"], a["load_s"]) == (6, pytest.approx(0.4))
    assert a["stability"]["stable"] is False and c["stability"]["stable"] is True


def test_a_configuration_that_is_known_well_enough_stops_early() -> None:
    asked: list[str] = []

    def measure(given: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(given["model"])
        wavering = [0.01 + 0.004 * (asked.count("restless") % 2)] * 60
        return answer(given, [0.01, 0.0101, 0.0099] * 20 if given["model"] == "steady" else wavering)

    found = rounds.measure_all([job("steady", 10), job("restless", 10)], 0.02, measure, lambda: False)
    assert (asked.count("steady"), asked.count("restless")) == (2, 10)
    assert found[0]["median_half_width"] < 0.02


def test_what_failed_gets_no_second_turn_and_a_stop_ends_the_rounds() -> None:
    asked: list[str] = []

    def measure(given: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(given["model"])
        return answer(given, [], status="failed" if given["model"] == "a" else "ok")

    found = rounds.measure_all([job("a", 3), job("b", 3)], None, measure, lambda: len(asked) >= 3)
    assert asked == ["a", "b", "b"] and len(found) == 2


def test_fused_and_renamed_operators_lead_back_to_their_layers() -> None:
    nodes = [
        onnxfile.Node("node_conv", "Conv", ("image", "net.a.weight", "net.a.bias"), ("conv",)),
        onnxfile.Node("node_relu", "LeakyRelu", ("conv",), ("relu",)),
        onnxfile.Node("dq", "DequantizeLinear", ("net.b.weight_quantized", "s", "z"), ("dq_out",)),
        onnxfile.Node("node_conv_1", "Conv", ("relu", "dq_out"), ("conv_1",)),
        onnxfile.Node("node_add", "Add", ("conv_1", "relu"), ("add",)),
    ]
    layers = profiling.Layers(nodes)
    assert layers.of("node_conv") == layers.of("relu_nchwc") == layers.of("node_relu") == "net.a"
    assert layers.of("node_conv_1_token_7") == "net.b"
    assert layers.of("node_add") is None and layers.of("ReorderOutput_token_5") is None


def test_one_thread_is_not_measured_twice_for_spinning(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"")
    plan = planning.Plan((str(model),), (1, 2), spinning=(True, False), scenarios=("single-stream", "sustained"))
    found = [(j["threads"], j["scenario"], j["spinning"], j["rounds"]) for j in planning.jobs(plan, False)]
    assert found == [
        (1, "single-stream", True, 3), (1, "sustained", True, 1),
        (2, "single-stream", True, 3), (2, "single-stream", False, 3),
        (2, "sustained", True, 1), (2, "sustained", False, 1),
    ]  # fmt: skip
    emulated = planning.jobs(plan, True)
    assert [(j["scenario"], j["labelled"]) for j in emulated] == [("verify-only", 8)]
