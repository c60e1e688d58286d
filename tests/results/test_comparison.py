"""Comparing measurements in one declared thing, and in nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgexfer.errors import DeviceError
from edgexfer.results import compare_files, compare_many
from edgexfer.results.observed import observation
from tests.results.resultfiles import MACHINE, config, noisy, save


def test_two_machines(tmp_path: Path) -> None:
    first = save(tmp_path / "a.json", config(), config(threads=4))
    quick = [config(latency_s=noisy(0.005, 2)), config(threads=4, latency_s=noisy(0.01, 3))]
    second = save(tmp_path / "b.json", *quick, machine={**MACHINE, "host": "pi5", "cpu": "Cortex-A76"})
    found = compare_files(first, second, "machine")
    assert [p.first.threads for p in found.pairs] == [p.second.threads for p in found.pairs] == [1, 4]
    quicker, level = found.sentence().splitlines()
    assert "student.onnx (1 thread) on 'pi5'" in quicker and "times faster than" in quicker
    assert level.startswith("no difference shown between") and "95% interval" in level
    value = json.loads(json.dumps(found.to_dict()))
    assert value["pairs"][0]["ratio"] == pytest.approx(0.5, abs=0.01)
    assert value["pairs"][0]["difference_shown"] and not value["pairs"][1]["difference_shown"]
    assert value["pairs"][0]["differs"]["machine.cpu"] == ["Cortex-A72", "Cortex-A76"]
    assert value["pairs"][0]["first"]["p95_s"] and value["pairs"][0]["first"]["p99_s"] is None


INT8 = {"model": "student.int8.onnx", "sha256": "bb", "parent_sha256": "aa", "precision": "int8"}
OTHER = {
    "model": "o.onnx",
    "sha256": "cc",
    "network": "other",
    "parent_sha256": "11",
    "input": {"image": ["uint8", [1]]},
}


@pytest.mark.parametrize(
    ("vary", "changes", "said"),
    [
        ("precision", INT8, "student.int8.onnx (int8, 1 thread) is 2.0"),
        ("model", OTHER, "o.onnx (1 thread) is 2.0"),
        ("threads", {"threads": 2}, "student.onnx (2 threads) is 2.0"),
        ("runtime", {"runtime_version": "1.23"}, "student.onnx (onnxruntime 1.23, 1 thread) is 2.0"),
    ],
)
def test_the_declared_variable_may_differ(tmp_path: Path, vary: str, changes: dict[str, Any], said: str) -> None:
    first = save(tmp_path / "a.json")
    second = save(tmp_path / "b.json", config(**changes, latency_s=noisy(0.02, 2)))
    sentence = compare_files(first, second, vary).sentence()
    assert sentence.startswith(said[:-1]) and "times slower than student.onnx" in sentence


@pytest.mark.parametrize(
    ("vary", "changes", "message"),
    [
        ("machine", {"threads": 2}, "differ in more than machine: threads is 1 and 2"),
        ("threads", INT8, 'sha256 is "aa" and "bb"'),
        ("model", INT8, 'more than model: precision is "float32" and "int8"; bench again with these equal'),
        ("threads", {"runtime_version": "1.23"}, 'runtime_version is "1.20" and "1.23"'),
        ("threads", {"session": {"execution_mode": "parallel"}}, "session.execution_mode is"),
        ("precision", {**INT8, "parent_sha256": "dd"}, 'more than precision: parent_sha256 is "00" and "dd"'),
        ("model", {"affinity": [0]}, r"affinity is \[0, 1, 2, 3\] and \[0\]"),
    ],
)
def test_anything_else_may_not(tmp_path: Path, vary: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        compare_files(save(tmp_path / "a.json"), save(tmp_path / "b.json", config(**changes)), vary)


def test_the_machine_is_compared_but_not_a_little_memory(tmp_path: Path) -> None:
    first = save(tmp_path / "a.json")
    second = save(tmp_path / "b.json", machine={**MACHINE, "memory_bytes": 3_990_000_000})
    assert "no difference shown" in compare_files(first, second, "model").sentence()
    save(second, machine={**MACHINE, "governor": "performance", "memory_bytes": 8_000_000_000})
    with pytest.raises(DeviceError, match='memory_bytes is 4000000000 and 8000000000; machine.governor is "ondemand"'):
        compare_files(first, second, "model")
    save(second, settings={"min_seconds": 1.0, "min_runs": 100})
    with pytest.raises(DeviceError, match=r"settings.min_seconds is 10\.0 and 1\.0"):
        compare_files(first, second, "machine")


def test_another_name_of_the_same_file_is_no_difference(tmp_path: Path) -> None:
    second = save(tmp_path / "b.json", config(model="renamed.onnx"))
    assert compare_files(save(tmp_path / "a.json"), second, "machine").pairs[0].second.model == "renamed.onnx"


def test_what_has_no_counterpart_is_told(tmp_path: Path) -> None:
    first = save(tmp_path / "a.json", config(), config(threads=4))
    second = save(tmp_path / "b.json", config(), config(**INT8, status="wrong answers", latency_s=[]))
    found = compare_files(first, second, "machine")
    assert len(found.pairs) == 1 and len(found.left_out) == 2
    assert "student.onnx with 4 threads" in found.left_out[0] and "no counterpart" in found.left_out[0]
    assert "wrong answers" in found.sentence()


def test_several_counterparts_are_refused(tmp_path: Path) -> None:
    second = save(tmp_path / "b.json", config(), config(threads=4))
    with pytest.raises(DeviceError, match="several counterparts that differ only in threads; bench one threads a file"):
        compare_files(save(tmp_path / "a.json"), second, "threads")


def test_emulated_and_untimed_results_are_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "a.json")
    with pytest.raises(DeviceError, match="taken on an emulated processor.*bench on the device itself"):
        compare_files(good, save(tmp_path / "b.json", emulated=True), "machine")
    with pytest.raises(DeviceError, match=r"holds no times \(not timed\); bench again without --verify-only"):
        compare_files(good, save(tmp_path / "b.json", config(latency_s=[])), "machine")
    with pytest.raises(DeviceError, match="holds no times"):
        compare_files(good, save(tmp_path / "b.json", config(status="interrupted")), "machine")


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="called 'weather' that could vary; allowed: model, precision, threads"):
        compare_files(tmp_path / "a.json", tmp_path / "b.json", "weather")


def test_what_was_observed_is_shown_not_compared(tmp_path: Path) -> None:
    state = {"temperature_c": 60.0, "clock_hz": 1.8e9, "load_1min": 0.5, "throttled": {"live": [], "sticky": ["x"]}}
    hot = {**state, "temperature_c": 82.0, "clock_hz": 6e8, "throttled": {"live": ["throttled"]}}
    first = save(tmp_path / "a.json", config(observed={"before": state, "during": [], "after": state}))
    second = save(tmp_path / "b.json", config(observed={"before": state, "during": [hot], "after": None}))
    found = compare_files(first, second, "machine")
    assert found.sentence().endswith("the board reported throttled meanwhile")
    seen = found.to_dict()["pairs"][0]["second"]["observed"]
    assert (seen["temperature_c"], seen["clock_hz"], seen["throttled"]) == (82.0, 6e8, ["throttled"])
    assert observation({"during": 3, "before": {"temperature_c": "warm", "throttled": {"live": None}}})["note"] == ""


def test_repeated_runs_count_as_one_side(tmp_path: Path) -> None:
    faster = {"precision": "int8", "sha256": "bb", "parent_sha256": "aa", "model": "student.int8.onnx"}
    first = [save(tmp_path / f"a{i}.json", config(latency_s=noisy(0.01 * (1 + 0.01 * i), i))) for i in range(3)]
    second = [save(tmp_path / f"b{i}.json", config(latency_s=noisy(0.005, 9 + i), **faster)) for i in range(2)]
    (found,) = compare_many([first[0], second[0], *first[1:], second[1]], "precision")
    (pair,) = found.pairs
    assert (len(pair.first.latency_s), pair.first.runs, pair.second.runs) == (600, (200,) * 3, (200,) * 2)
    assert pair.interval.ratio == pytest.approx(0.495, abs=0.01) and pair.interval.difference_shown
    assert found.to_dict()["pairs"][0]["first"]["rounds"] == 3
    threads = [save(tmp_path / f"t{n}.json", config(threads=n, latency_s=noisy(0.01 / n, n))) for n in (1, 2, 4)]
    found2, found4 = compare_many(threads, "threads")
    assert found2.pairs[0].second.threads == 2 and found4.pairs[0].interval.ratio == pytest.approx(0.25, rel=0.05)
    with pytest.raises(DeviceError, match="all 3 results are runs of one thing, so threads does not vary"):
        compare_many(first, "threads")
    with pytest.raises(DeviceError, match="1 result cannot be compared; name two or more"):
        compare_many(first[:1], "threads")


def test_what_one_of_repeated_runs_saw_is_not_lost(tmp_path: Path) -> None:
    calm = {"temperature_c": 50.0, "throttled": {"live": [], "sticky": []}}
    hot = {"temperature_c": 82.0, "throttled": {"live": ["throttled"], "sticky": []}}
    steady = {"observed": {"before": calm, "during": [], "after": calm}, "stability": {"stable": True}}
    shaken = {"observed": {"before": calm, "during": [hot], "after": calm}, "stability": {"stable": False}}
    paths = [save(tmp_path / f"{i}.json", config(**facts)) for i, facts in enumerate((steady, shaken))]
    other = save(tmp_path / "other.json", config(threads=2, **steady))
    (found,) = compare_many([*paths, other], "threads")
    side = found.to_dict()["pairs"][0]["first"]
    assert side["stable"] is False and side["observed"]["temperature_c"] == 82.0
    assert "the board reported throttled meanwhile" in found.sentence() and "was unstable" in found.sentence()
