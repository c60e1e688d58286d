"""Rounds: every configuration gets its turn, then every one again, each in a fresh process: A B A B, never A A B B.

So what drifts (temperature, neighbours) falls on all alike, and what differs from process to process (memory layout)
is part of the spread instead of a bias. Standard library only.
"""

from __future__ import annotations

import math
import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import _edgexfer_stability as stability
from _edgexfer_environment import say
from _edgexfer_sensors import governor
from _edgexfer_statistics import median_interval, percentile

Measure = Callable[[Mapping[str, Any]], Dict[str, Any]]


def measure_all(
    jobs: Sequence[Mapping[str, Any]],
    precision: Optional[float],
    measure: Measure,
    stopped: Callable[[], bool],
    keep: Callable[[List[Dict[str, Any]]], None] = lambda configs: None,
) -> List[Dict[str, Any]]:
    """Measures every job in rounds.

    Args:
        jobs: As ``_edgexfer_plan.jobs`` makes them.
        precision: Relative half-width of the median's interval at which a configuration needs no further round.
        measure: Measures a job in a fresh process.
        stopped: Whether the person asked to stop.
        keep: Given what there is after each round but the last, so that a kill or a power cut loses no more than one.

    Returns:
        The configurations that were begun, in the order of the jobs.
    """
    found: List[Optional[Dict[str, Any]]] = [None] * len(jobs)
    most = max((int(job["rounds"]) for job in jobs), default=0)
    told = 0
    for number in range(most):
        for place, job in enumerate(jobs):
            if stopped() or number >= job["rounds"] or _done(found[place], job, precision, number):
                continue
            if number == 0:
                _tell(job, place, len(jobs))
            elif told < number:
                say(f"round {number + 1} of {most}")
                told = number
            one = measure(_share(job, number))
            before = found[place]
            found[place] = _begun(one) if before is None else _merged(before, one)
        if number < most - 1 and not stopped():
            keep(_judged(found))
    return _judged(found)


def _judged(found: Sequence[Optional[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    configs = [one for one in found if one is not None]
    for config in configs:
        if config["latency_s"]:
            config["stability"] = stability.judge(config, governor())
            config["median_half_width"] = median_interval(config["latency_s"])
    return configs


def _share(job: Mapping[str, Any], number: int) -> Dict[str, Any]:
    """A round's share of a job; the labelled samples are scored once."""
    samples = job["samples"] if number == 0 else None
    runs = math.ceil(job["min_runs"] / job["rounds"])
    return {**job, "min_seconds": job["min_seconds"] / job["rounds"], "min_runs": runs, "samples": samples}


def _done(config: Optional[Mapping[str, Any]], job: Mapping[str, Any], precision: Optional[float], number: int) -> bool:
    """Whether a configuration failed, or is known well enough after two rounds or more."""
    if config is None:
        return False
    if config["status"] != "ok":
        return True
    if precision is None or number < 2 or len(config["latency_s"]) < job["min_runs"]:
        return False
    width = median_interval(config["latency_s"])
    return width is not None and width <= precision


def _tell(job: Mapping[str, Any], place: int, count: int) -> None:
    words = [f"{job['threads']} thread{'s' if job['threads'] > 1 else ''}"]
    words += [job["scenario"] + (f" of {job['batch']}" if job["batch"] > 1 else "")]
    words += [] if job["spinning"] else ["no spinning"]
    words += [f"on cores {','.join(map(str, job['affinity']))}"] if job["affinity"] else []
    words += [job["runtime"]] if job["runtime"] != "onnxruntime" else []
    seconds = round(job["min_seconds"] / job["rounds"], 2)
    doing = "verifying" if job["verify_only"] else f"verifying, then timing for {seconds:g} s or more"
    doing += f" in each of {job['rounds']} rounds" if job["rounds"] > 1 else ""
    say(f"[{place + 1}/{count}] {os.path.basename(job['model'])}, {', '.join(words)}: {doing}")


def _begun(one: Dict[str, Any]) -> Dict[str, Any]:
    return {**one, "rounds": _round(one, 0) if one["latency_s"] else []}


def _round(one: Mapping[str, Any], begin: int) -> List[Dict[str, Any]]:
    times = one["latency_s"]
    return [
        {
            "begin": begin,
            "count": len(times),
            "p50_s": percentile(sorted(times), 50) if times else None,
            "load_s": one["load_s"],
            "first_s": one["first_s"],
            "warmup": one["observed"].get("warmup"),
        }
    ]


def _merged(before: Dict[str, Any], one: Mapping[str, Any]) -> Dict[str, Any]:
    """A configuration with another round's times behind those it has."""
    earlier, later = before["observed"], one["observed"]
    loads = sorted(r["load_s"] for r in [*before["rounds"], one] if r["load_s"] is not None)
    peaks = [p for p in (before["peak_rss_bytes"], one["peak_rss_bytes"]) if p is not None]
    return {
        **before,
        "status": one["status"],
        "error": one["error"],
        "latency_s": [*before["latency_s"], *one["latency_s"]],
        "rounds": before["rounds"] + (_round(one, len(before["latency_s"])) if one["latency_s"] else []),
        "load_s": percentile(loads, 50) if loads else before["load_s"],
        "peak_rss_bytes": max(peaks) if peaks else None,
        "observed": {
            **earlier,
            "during": [*earlier.get("during", ()), *later.get("during", ())],
            "after": later.get("after") or earlier.get("after"),
        },
    }
