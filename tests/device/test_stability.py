"""Verdicts on measured times that no real machine shows at will."""

from __future__ import annotations

from typing import Any

import pytest

from edgexfer import device

stability = device.load("_edgexfer_stability")
statistics = device.load("_edgexfer_statistics")
table = device.load("_edgexfer_table")


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


def test_the_interval_of_a_median_counts_blocks_not_times() -> None:
    assert statistics.median_interval([0.01] * 40) is None
    assert statistics.median_interval([0.01] * 100) == pytest.approx(0.0, abs=1e-12)
    slow_and_fast = [0.010] * 500 + [0.012] * 500  # a thousand times, but two states
    independent = [0.010, 0.012] * 500
    assert statistics.median_interval(slow_and_fast) > 0.03 > 10 * statistics.median_interval(independent)
