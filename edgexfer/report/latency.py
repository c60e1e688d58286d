"""Figures of measured times: percentiles only where enough samples carry them, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENOUGH = {50: 1, 90: 64, 95: 130, 99: 662}
"""Least number of samples by percentile: MLPerf Inference's early-stopping counts at 99% confidence."""


def percentile(latency_s: Sequence[float], percent: int) -> float | None:
    """A percentile, interpolated linearly between the two nearest samples; ``None`` from too few samples."""
    if len(latency_s) < ENOUGH[percent]:
        return None
    return float(np.percentile(np.asarray(latency_s, dtype=np.float64), percent))


def mean(latency_s: Sequence[float]) -> float | None:
    """The arithmetic mean; ``None`` of nothing."""
    return float(np.mean(latency_s)) if latency_s else None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points ``(seconds, accuracy)`` that no other beats in one without losing in the other.

    In rising order of seconds. Of equal points the first one stands for all.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    best = float("-inf")
    for i in order:
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front
