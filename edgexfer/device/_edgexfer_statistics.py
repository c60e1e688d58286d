"""Percentiles, only where enough samples carry them. Standard library only.

The counts are those of MLPerf Inference's early stopping (99% confidence, no sample over the bound allowed for):
https://github.com/mlcommons/inference_policies/blob/master/inference_rules.adoc#early-stopping-criterion
"""

from __future__ import annotations

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
