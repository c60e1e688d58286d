"""Figures of measured times beside their percentiles: the mean, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
