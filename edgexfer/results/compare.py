"""Two results side by side: the ratio of their medians, where nothing but the declared variable differs.

The interval is the percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13):
both sets of latencies are drawn again with replacement, and the ratio of medians is taken each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.errors import DeviceError
from edgexfer.results.record import BenchmarkResult, read_result

VARIABLES = ("model", "precision", "threads", "runtime", "machine")
FIXED = ("model", "precision", "threads", "runtime", "runtime_version", "scenario", "session")
GOES_WITH = {
    "model": {"model", "sha256", "precision", "session"},
    "precision": {"precision", "model", "sha256", "session"},
    "threads": {"threads", "session"},
    "runtime": {"runtime", "runtime_version", "session"},
    "machine": {"machine", "runtime_version", "session"},
}
MACHINE_KEYS = ("board", "model", "cpu", "architecture", "cores")
RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """The first result against the second.

    Attributes:
        vary: What differs on purpose.
        first: Name of the first.
        second: Name of the second.
        median_s: Both medians, in seconds.
        ratio: First median over second.
        interval: Its 95% bootstrap interval.
        runs: How many latencies each has.
    """

    vary: str
    first: str
    second: str
    median_s: tuple[float, float]
    ratio: float
    interval: tuple[float, float]
    runs: tuple[int, int]

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 1 out."""
        return not self.interval[0] <= 1 <= self.interval[1]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        return {
            "vary": self.vary,
            "first": self.first,
            "second": self.second,
            "median_s": list(self.median_s),
            "ratio": self.ratio,
            "interval": list(self.interval),
            "runs": list(self.runs),
            "differs": self.differs,
        }

    def sentence(self) -> str:
        """The comparison in one line."""
        low, high = self.interval
        medians = f"{self.median_s[0] * 1e3:.3f} ms against {self.median_s[1] * 1e3:.3f} ms"
        numbers = f"{medians}, ratio {self.ratio:.3f} (95% interval {low:.3f} to {high:.3f})"
        if not self.differs:
            return f"no difference shown: {self.first} {numbers} {self.second}"
        return f"{self.first} is {'slower' if self.ratio > 1 else 'faster'} than {self.second}: {numbers}"


def compare_files(first: Path, second: Path, vary: str) -> Comparison:
    """Compares the one timed configuration of each file; the same file may be given twice with two configurations."""
    return compare(read_result(first), read_result(second), vary)


def compare(first: BenchmarkResult, second: BenchmarkResult, vary: str) -> Comparison:
    """Compares two results that differ in ``vary`` and in nothing else.

    Where the files hold several configurations, the pair is taken that differs in ``vary`` alone; there must be one.

    Raises:
        DeviceError: ``vary`` is unknown, a result is emulated or untimed, or more than ``vary`` differs.
    """
    if vary not in VARIABLES:
        raise DeviceError(f"nothing to vary is called {vary!r}; allowed: {', '.join(VARIABLES)}")
    for result in (first, second):
        if result.emulated:
            raise DeviceError(f"{str(result.path)!r} was taken under emulation; its times are not latencies")
    pairs = [(a, b) for a in _timed(first) for b in _timed(second)]
    judged = [
        (_differences(first, second, a, b, vary), a, b)
        for a, b in pairs
        if _value(first, a, vary) != _value(second, b, vary)
    ]
    if not judged:
        raise DeviceError(f"the two results do not differ in {vary}: nothing to compare")
    fitting = [(a, b) for differences, a, b in judged if not differences]
    if not fitting:
        nearest = min((differences for differences, _, _ in judged), key=len)
        raise DeviceError(f"more than {vary} differs, so the times cannot be compared: {'; '.join(nearest)}")
    if len(fitting) > 1:
        raise DeviceError(
            f"{len(fitting)} pairs differ in {vary} alone; bench the two configurations into files of their own"
        )
    return _compared(*fitting[0], vary, _label(first, fitting[0][0], vary), _label(second, fitting[0][1], vary))


def ratio_interval(first: Sequence[float], second: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap interval of the ratio of medians, first over second; the same for the same seed."""
    rng = np.random.default_rng(seed)
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    ratios = np.array([np.median(rng.choice(a, len(a))) / np.median(rng.choice(b, len(b))) for _ in range(RESAMPLES)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _compared(a: Mapping[str, Any], b: Mapping[str, Any], vary: str, first: str, second: str) -> Comparison:
    medians = (float(np.median(a["latency_s"])), float(np.median(b["latency_s"])))
    return Comparison(
        vary=vary,
        first=first,
        second=second,
        median_s=medians,
        ratio=medians[0] / medians[1],
        interval=ratio_interval(a["latency_s"], b["latency_s"]),
        runs=(len(a["latency_s"]), len(b["latency_s"])),
    )


def _timed(result: BenchmarkResult) -> list[Mapping[str, Any]]:
    timed = [config for config in result.configs if config["status"] == "ok" and config["latency_s"]]
    if not timed:
        raise DeviceError(f"{str(result.path)!r} holds no latency: nothing in it was both right and timed")
    return timed


def _value(result: BenchmarkResult, config: Mapping[str, Any], key: str) -> Any:
    if key == "machine":
        return {name: result.machine.get(name) for name in MACHINE_KEYS}
    return config.get("sha256", config["model"]) if key == "model" else config.get(key)


def _label(result: BenchmarkResult, config: Mapping[str, Any], vary: str) -> str:
    if vary == "machine":
        return str(result.machine.get("board") or result.machine.get("host") or result.path.name)
    return f"{vary} {Path(config['model']).name if vary == 'model' else config[vary]}"


def _differences(
    first: BenchmarkResult, second: BenchmarkResult, a: Mapping[str, Any], b: Mapping[str, Any], vary: str
) -> list[str]:
    keys = [key for key in (*FIXED, "machine") if key not in GOES_WITH[vary]]
    values = [(key, _value(first, a, key), _value(second, b, key)) for key in keys]
    return [f"{key} is {x!r} and {y!r}" for key, x, y in values if x != y]
