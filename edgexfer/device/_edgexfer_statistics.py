"""Percentiles, only where enough samples carry them. Standard library only.

The counts are those of MLPerf Inference's early stopping (99% confidence, no sample over the bound allowed for):
https://github.com/mlcommons/inference_policies/blob/master/inference_rules.adoc#early-stopping-criterion
"""

from __future__ import annotations

import math
from typing import Dict, Optional, Sequence

ENOUGH = {50: 1, 90: 64, 95: 130, 99: 662}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The percentile of values in rising order, interpolated linearly between the two nearest.

    Raises:
        ValueError: There are no values.
    """
    if not ordered:
        raise ValueError("no values, no percentile")
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(latency_s: Sequence[float]) -> Dict[str, Optional[float]]:
    """``p50_s, p90_s, p95_s, p99_s, mean_s, min_s, max_s, runs``; ``None`` where there are too few samples."""
    ordered = sorted(latency_s)
    count = len(ordered)
    values: Dict[str, Optional[float]] = {"runs": float(count)}
    for percent, enough in ENOUGH.items():
        values[f"p{percent}_s"] = percentile(ordered, percent) if count >= enough else None
    values["mean_s"] = sum(ordered) / count if count else None
    values["min_s"] = ordered[0] if count else None
    values["max_s"] = ordered[-1] if count else None
    return values


def median_interval(values: Sequence[float], blocks: int = 20) -> Optional[float]:
    """Relative half-width of the 95% interval of the median, ``None`` from too few values.

    Consecutive values are alike, so the values are cut into blocks in the order they were taken, and the spread of the
    blocks' medians is what counts (batch means, Law and Kelton, "Simulation Modeling and Analysis", chapter 9).
    """
    count = min(blocks, len(values) // 5)
    if count < 10:
        return None
    size = len(values) / count
    medians = [percentile(sorted(values[int(i * size) : int((i + 1) * size)]), 50) for i in range(count)]
    mean = sum(medians) / count
    variance = sum((m - mean) ** 2 for m in medians) / (count - 1)
    return 2.1 * math.sqrt(variance / count) / mean if mean > 0 else None  # Student's t of 10 to 20 blocks
