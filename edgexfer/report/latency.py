"""The figure of measured times beside their percentiles: the mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean(latency_s: Sequence[float]) -> float | None:
    """The arithmetic mean; ``None`` of nothing."""
    return float(np.mean(latency_s)) if latency_s else None
