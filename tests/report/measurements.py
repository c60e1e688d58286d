"""Benchmark results in the format of the device room, made of seeded random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tests.results import resultfiles


def make_config(
    model: str, *, sha256: str = "0" * 64, p50_s: float = 0.002, runs: int = 700, **more: Any
) -> dict[str, Any]:
    """One configuration of a benchmark result."""
    generator = np.random.default_rng([len(model), runs, round(p50_s * 1e6)])
    latency = p50_s * (1 + generator.gamma(2.0, 0.02, runs) - 0.03)
    latency[:: max(runs // 7, 1)] *= 1.6
    told = {
        "model": model,
        "network": None,
        "sha256": sha256,
        "parent_sha256": None,
        "precision": "int8" if "int8" in model else "float32",
        "runtime_version": "1.32.0",
        "latency_s": [float(v) for v in latency],
        "load_s": 0.0312,
        "first_s": 0.0041,
        "peak_rss_bytes": 61_440_000,
        "size_bytes": 4_207_312,
        "top1": 0.9765625,
        "top1_images": 256,
        "observed": {"before": {"temperature_c": 48.3}, "during": [], "after": {"temperature_c": 61.2}},
    }
    return resultfiles.config(**{**told, **more})


def judged(config: dict[str, Any], *, rounds: int = 3, causes: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """A configuration with its rounds and the verdict that the device came to."""
    times = config["latency_s"]
    cuts = [len(times) * i // rounds for i in range(rounds + 1)]
    told = [
        {"begin": a, "count": b - a, "p50_s": float(np.median(times[a:b])), "load_s": 0.03, "first_s": 0.004}
        for a, b in pairwise(cuts)
    ]
    symptoms = ["the medians of the rounds differ by 9%"] if causes else []
    verdict = {"stable": not causes, "symptoms": symptoms, "causes": [{"cause": c, "remedy": r} for c, r in causes]}
    return {**config, "batch": 1, "rounds": told, "stability": verdict, "median_half_width": 0.0123}


def profiled(config: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
    """A configuration whose operators were timed; two operators belong to one layer, one to none."""
    operators = [
        ("conv_1", "Conv", "body.0", 0.5),
        ("conv_2", "Conv", "body.1", 0.3),
        ("relu_2", "Relu", "body.1", 0.1),
    ]
    rows = [
        {"name": n, "op": op, "layer": layer, "calls": 34, "mean_s": scale * share * 1e-3, "share": share}
        for n, op, layer, share in [*operators, ("reshape", "Reshape", None, 0.1)]
    ]
    return {**config, "profile": rows}


def sustained(model: str, *, seconds: int = 30, **more: Any) -> dict[str, Any]:
    """A measurement under lasting load, looked at once a second, that grows hot and slows down."""
    config = make_config(model, runs=100 * seconds, scenario="sustained", batch=1, **more)
    during = [
        {
            "time_s": 1000.0 + i + 1,
            "runs": 100 * (i + 1),
            "temperature_c": 50.0 + 0.9 * i,
            "clock_hz": None,
            "requested_hz": 1.8e9 if i < 20 else 1.5e9,
            "throttled": {"live": ["throttled"] if i > 25 else [], "sticky": []},
        }
        for i in range(seconds)
    ]
    before, after = ({"time_s": 1000.0 + t, "temperature_c": 50.0 + 0.9 * t} for t in (0, seconds))
    return {**config, "observed": {"before": before, "during": during, "after": after}}


def make_result(path: Path, configs: Sequence[dict[str, Any]], *, emulated: bool = False, **machine: Any) -> Path:
    """A benchmark result file."""
    told = {
        "host": "raspberrypi",
        "board": "Raspberry Pi 4 Model B Rev 1.4",
        "cpu": "Cortex-A72",
        "architecture": "aarch64",
        "cores": 4,
        "memory_bytes": 3_979_612_160,
        "governor": "ondemand",
        "cpu_features": ["asimd"],
        "python": "3.11.2",
        **machine,
    }
    created = "2026-03-01T12:00:00Z"
    return resultfiles.save(path, created=created, machine=told, emulated=emulated, configs=list(configs))
