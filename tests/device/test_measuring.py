"""The parts of the benchmark that no real machine shows at will: boards, sensors, rounds, verdicts, recommendations."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgexfer import device

board = device.load("_edgexfer_board")
sensors = device.load("_edgexfer_sensors")
stability = device.load("_edgexfer_stability")
rounds = device.load("_edgexfer_rounds")
recommending = device.load("_edgexfer_recommend")
statistics = device.load("_edgexfer_statistics")
planning = device.load("_edgexfer_plan")
table = device.load("_edgexfer_table")
profiling = device.load("_edgexfer_profile")
onnxfile = device.load("_edgexfer_onnxfile")


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "architecture", "kind"),
    [
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", "raspberry-pi-3"),
        ("Raspberry Pi 4 Model B Rev 1.5", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "raspberry-pi-zero-2"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "aarch64", "jetson"),
        ("Radxa ROCK 5B", "aarch64", "arm64"),
        ("Dell Inc. OptiPlex", "x86_64", "x86-64"),
        (None, "riscv64", "riscv64"),
    ],
)
def test_boards_are_recognised(name: str | None, architecture: str, kind: str) -> None:
    assert board.kind(name, architecture) == kind


def test_limits_of_a_container_are_read(tmp_path: Path) -> None:
    assert board.cgroup(str(tmp_path)) == {"cpus": None, "memory_bytes": None}
    group = "sys/fs/cgroup"
    write(tmp_path, {f"{group}/cpu.max": "150000 100000\n", f"{group}/memory.max": "268435456\n", ".dockerenv": ""})
    assert board.cgroup(str(tmp_path)) == {"cpus": 1.5, "memory_bytes": 1 << 28}
    assert board.container(str(tmp_path)) == "docker"
    old = {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": "1000"}
    write(tmp_path / "old", {f"{group}/{name}": text for name, text in old.items()})
    assert board.cgroup(str(tmp_path / "old")) == {"cpus": 0.5, "memory_bytes": 1000}
    free = {"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": "9223372036854771712"}
    write(tmp_path / "old", {f"{group}/{name}": text for name, text in free.items()})
    assert board.cgroup(str(tmp_path / "old")) == {"cpus": None, "memory_bytes": None}
    write(tmp_path, {f"{group}/memory.events": "low 0\noom 3\noom_kill 2\n"})
    assert board.oom_kills(str(tmp_path)) == 2


def test_threads_are_bound_to_the_strongest_cores_apart(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpu{}"
    for core in range(4):  # two pairs of siblings
        write(tmp_path, {f"{cpu.format(core)}/topology/thread_siblings_list": f"{core % 2},{core % 2 + 2}\n"})
    assert board.pinned_cores(2, str(tmp_path), [0, 1, 2, 3]) == [0, 1]
    big = tmp_path / "big"
    for core, capacity in enumerate((400, 400, 1024, 1024)):
        write(big, {f"{cpu.format(core)}/cpu_capacity": f"{capacity}\n"})
    assert board.pinned_cores(1, str(big), [0, 1, 2, 3]) == [3]
    assert board.pinned_cores(3, str(big), [0, 1, 2, 3]) == [1, 2, 3]


def test_a_raspberry_pi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone, cpu = "sys/class/thermal/thermal_zone0", "sys/devices/system/cpu/cpu0/cpufreq"
    files = {
        f"{zone}/type": "cpu-thermal\n",
        f"{zone}/temp": "81500\n",
        f"{cpu}/scaling_cur_freq": "1500000\n",
        f"{cpu}/cpuinfo_cur_freq": "1200000\n",
        f"{cpu}/scaling_governor": "ondemand\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        "sys/class/hwmon/hwmon1/power1_input": "3250000\n",
        "proc/meminfo": "MemTotal: 948000 kB\nMemAvailable: 50000 kB\n",
        "proc/pressure/memory": "some avg10=4.20 avg60=1.00 avg300=0.20 total=1\nfull avg10=0.00 total=0\n",
        "proc/stat": "cpu 1000 0 500 9000 0 0 0 0\n",
    }
    write(tmp_path, files)
    clock = [100.0, 0.0]  # monotonic, and by how much the system's clock is off
    monkeypatch.setattr(sensors.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sensors.time, "time", lambda: 1.7e9 + clock[0] + clock[1])
    found = sensors.Sensors(str(tmp_path))
    clock[:] = [110.0, -3600.0]
    write(tmp_path, {"proc/stat": "cpu 1600 0 500 9400 0 0 0 0\n"})
    seen = found.observe(thorough=True)
    assert (seen["temperature_c"], seen["requested_hz"], seen["clock_hz"]) == (81.5, 1.5e9, 1.2e9)
    assert seen["throttled"] == {"live": ["under-voltage", "throttled"], "sticky": ["under-voltage", "throttled"]}
    assert (seen["power_w"], seen["governor"], seen["memory_pressure"]) == (3.25, "ondemand", 4.2)
    assert seen["others_cores"] == pytest.approx(600 / os.sysconf("SC_CLK_TCK") / 10, abs=0.2)
    assert seen["clock_jump_s"] == -3600.0


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    seen = sensors.Sensors(str(tmp_path)).observe()
    silent = ("temperature_c", "requested_hz", "throttled", "power_w", "memory_pressure", "others_cores")
    assert all(seen[key] is None for key in silent)


def config(times: list[float], **more: Any) -> dict[str, Any]:
    return {"model": "m.onnx", "threads": 1, "latency_s": times, "observed": {}, "rounds": [], **more}


def observed(**state: Any) -> dict[str, Any]:
    return {"before": {"clock_hz": 1.5e9}, "during": [state], "after": {}}


STEADY = [0.01, 0.0101, 0.0099] * 40


@pytest.mark.parametrize(
    ("governor", "state", "cause", "remedy"),
    [
        (None, {"throttled": {"live": ["under-voltage"], "sticky": []}}, "under-voltage", "power supply"),
        (None, {"throttled": {"live": ["throttled"], "sticky": []}}, "throttled", "cool the board"),
        (None, {"throttled": {"live": [], "sticky": ["throttled"]}}, "since it started", "cool"),
        (None, {"temperature_c": 84.0}, "reached 84 degrees", "cool it"),
        ("ondemand", {"clock_hz": 0.6e9}, "between 600 and 1500 MHz", "the governor is ondemand; echo performance"),
        ("performance", {"clock_hz": 0.6e9}, "between 600 and 1500 MHz", "power supply"),
        (None, {"others_cores": 1.2}, "other processes kept 1.2 cores busy", "stop them"),
        (None, {"memory_pressure": 30.0}, "waited for memory 30% of the time", "free -m"),
        (None, {"memory_available_bytes": 1 << 20}, "only 1 MB of memory", "free -m"),
        (None, {"clock_jump_s": -3600.0}, "clock was set by -3600 s", "another clock"),
    ],
)
def test_a_cause_is_named_with_its_remedy(governor: str | None, state: dict[str, Any], cause: str, remedy: str) -> None:
    slower = STEADY + [2 * t for t in STEADY]
    for times, stable in ((STEADY, True), (slower, False)):
        verdict = stability.judge(config(times, observed=observed(**state)), governor)
        assert verdict["stable"] is stable
        (found,) = verdict["causes"]
        assert cause in found["cause"] and remedy in found["remedy"]
    said = stability.sentences([config(slower, stability=verdict)])
    assert said[0].startswith("unstable: m.onnx with 1 thread: the last third was 100% slower than the first")
    assert said[1].startswith("cause: ") and cause in said[1]


def test_rounds_that_disagree_and_wide_spreads_are_unstable() -> None:
    apart = [{"p50_s": 0.01}, {"p50_s": 0.0112}]
    verdict = stability.judge(config(STEADY, rounds=apart), None)
    assert verdict["symptoms"] == ["the medians of the rounds differ by 12%"]
    assert verdict["causes"][0]["remedy"] == "repeat it, with more --rounds or a larger --min-seconds"
    wide = stability.judge(config([0.01, 0.02, 0.03] * 40), None)
    assert wide["symptoms"] == ["half of the times are spread over 100% of their median"]
    restless = stability.judge(config(STEADY, observed={"warmup": {"stable": False}}), None)
    assert restless["symptoms"] == ["it had not settled when the warm-up ended"]
    assert stability.judge(config(STEADY), None) == {"stable": True, "symptoms": [], "causes": []}
    many = [config(STEADY, stability=wide) for _ in range(6)]
    assert len(stability.sentences(many)) == 2 and "6 of 6 configurations" in stability.sentences(many)[0]


def test_a_sustained_run_shows_how_latency_follows_the_heat() -> None:
    during = [
        {"time_s": 1000.0 + i, "runs": 10 * i, "temperature_c": 50.0 + i, "clock_hz": 1.5e9 - 5e7 * (i > 15)}
        for i in range(1, 25)
    ]
    during[-1]["throttled"] = {"live": ["throttled"], "sticky": []}
    times = [0.01] * 150 + [0.02] * 90
    course = table.render_course(config(times, observed={"before": {"time_s": 1000.0}, "during": during}))
    lines = [line.split() for line in course.splitlines()[3:]]
    assert [line[0] for line in lines] == ["3", "6", "9", "12", "15", "18", "21", "24"]
    assert (lines[4][2], lines[4][6], lines[5][2], lines[5][6]) == ("10.00", "1500", "20.00", "1450")
    assert lines[-1][4:] == ["74.0", "C", "1450", "MHz", "throttled"]


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
        return answer(given, STEADY[:60] if given["model"] == "steady" else wavering)

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


def test_the_interval_of_a_median_counts_blocks_not_times() -> None:
    assert statistics.median_interval([0.01] * 40) is None
    assert statistics.median_interval([0.01] * 100) == pytest.approx(0.0, abs=1e-12)
    slow_and_fast = [0.010] * 500 + [0.012] * 500  # a thousand times, but two states
    independent = [0.010, 0.012] * 500
    assert statistics.median_interval(slow_and_fast) > 0.03 > 10 * statistics.median_interval(independent)


def measured(model: str, times: list[float], top1: float | None, **more: Any) -> dict[str, Any]:
    return {
        "model": model, "sha256": model * 8, "precision": "int8", "runtime": "onnxruntime", "runtime_version": "1.30",
        "threads": 1, "spinning": True, "batch": 1, "scenario": "single-stream", "top1": top1, "status": "ok",
        "verified": True, "affinity": [0, 1], "pinned": False, "head": None, "latency_s": times, **more,
    }  # fmt: skip


def test_the_fastest_of_the_models_that_are_right_is_recommended(tmp_path: Path) -> None:
    configs = [
        measured("a", [0.010] * 9, 0.90),
        measured("b", [0.004] * 9, 0.80),  # faster, but ten points worse
        measured("c", [0.006] * 9, 0.895, pinned=True, spinning=False, threads=2),
        measured("c", [0.030] * 9, 0.895, batch=8, scenario="offline"),
        measured("d", [0.001] * 9, 0.90, status="wrong answers"),
    ]
    found = recommending.recommend(configs)
    assert (found["latency"]["model"], found["latency"]["affinity"]) == ("c", [0, 1])
    assert (found["throughput"]["batch"], found["throughput"]["images_per_s"]) == (8, pytest.approx(266.667))
    assert recommending.recommend(configs[:2]) is None, "nothing to compare"
    lines = recommending.sentences(found)
    assert lines[0] == "best latency: c, 2 threads, no spinning, on cores 0,1, onnxruntime: 6 ms"
    assert lines[1] == "best throughput: c, 1 thread, 8 pictures at once, onnxruntime: 266.7 images/s"


def test_a_recommendation_counts_on_the_same_machine_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"model")
    machine = {"host": "pi", "cpu": "A72", "cores": 4, "architecture": "aarch64", "other": 1}
    sha256 = device.load("_edgexfer_files").sha256_file(str(model))
    best = measured("m.onnx", [0.006] * 9, None, sha256=sha256, threads=3)
    found = recommending.recommend([best, measured("n", [0.01] * 9, None)])
    result = {"created": "2030-01-01T00:00:00Z", "machine": machine}
    assert recommending.write(found, result, str(tmp_path)) == str(tmp_path / "recommended.json")
    used = recommending.read(str(tmp_path), [str(model)], {**machine, "other": 2})
    assert used == {"path": str(model), "threads": 3, "spinning": True, "runtime": "onnxruntime", "affinity": None}
    assert recommending.read(str(tmp_path), [str(model)], {**machine, "cores": 2}) is None
    model.write_bytes(b"another model")
    assert recommending.read(str(tmp_path), [str(model)], machine) is None
    assert capsys.readouterr().err.count("is of another machine or another model") == 2
    (tmp_path / "recommended.json").write_text(json.dumps({"format": 1, "latency": {}}))
    assert recommending.read(str(tmp_path), [str(model)], machine) is None
    assert "is not used" in capsys.readouterr().err
    assert recommending.read(str(tmp_path / "no"), [], machine) is None
    assert recommending.write(found, result, str(tmp_path / "no")) is None
    assert "no recommended.json" in capsys.readouterr().err


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
