"""A histogram of a stream whose range nobody knows beforehand, in memory that never grows, and ranges read off it.

Bins lie on a grid through zero whose width is a power of two. When a value does not fit, neighbours are merged and the
width doubles, so what is left at the end does not depend on how the stream was cut or in which order it came.

``minmax`` keeps every value; ``percentile p`` cuts off ``(100 - p) / 2`` per cent on each side; ``entropy`` cuts both
sides at the magnitude at which the 8-bit distribution loses least of the float one, in the sense of Kullback and
Leibler (Migacz 2017, "8-bit inference with TensorRT", the algorithm on slides 28 to 33, here for zero points too).
"""

from __future__ import annotations

import numpy as np

BINS = 4096
LEVELS = 255
CANDIDATES = 96
SMALLEST_WIDTH = 2.0**-120
LARGEST = 2.0**100


class Histogram:
    """Counts of the finite values of a stream.

    Attributes:
        low: The least value so far.
        high: The largest.
        counts: int64 ``(BINS,)``; bin ``i`` holds values from ``(i - BINS / 2) width`` on.
        width: Of a bin; a power of two.
    """

    def __init__(self) -> None:
        self.low, self.high = float("inf"), float("-inf")
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.width = SMALLEST_WIDTH

    def add(self, values: np.ndarray) -> None:
        """Counts an array of any shape; what is not finite, or beyond 2^100, is left out."""
        flat = np.asarray(values, dtype=np.float32).reshape(-1)
        low, high = float(flat.min(initial=np.inf)), float(flat.max(initial=-np.inf))
        if not (-LARGEST < low <= high < LARGEST):
            flat = flat[np.abs(flat) < LARGEST]
            if not flat.size:
                return
            low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        places = np.floor(flat * np.float32(1 / self.width)).astype(np.int32) + BINS // 2
        self.counts += np.bincount(places, minlength=BINS)

    def _widen(self, magnitude: float) -> None:
        """Doubles the width until ``magnitude`` fits."""
        if not self.counts.any():
            while self.width * (BINS // 2 - 1) < magnitude:
                self.width *= 2
            return
        while self.width * (BINS // 2 - 1) < magnitude:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([np.zeros(BINS // 4, np.int64), merged, np.zeros(BINS // 4, np.int64)])
            self.width *= 2

    def range(self, method: str) -> tuple[float, float]:
        """Lowest and highest value to keep; see the module for the methods."""
        if self.low > self.high:
            return 0.0, 0.0
        if method == "minmax" or self.low == self.high:
            return self.low, self.high
        low, high = self._entropy() if method == "entropy" else self._percentile(float(method.split()[1]))
        return max(low, self.low), min(high, self.high)

    def _percentile(self, kept: float) -> tuple[float, float]:
        share = (100.0 - kept) / 200.0
        below = np.cumsum(self.counts) / self.counts.sum()
        first, last = int(np.searchsorted(below, share, "right")), int(np.searchsorted(below, 1 - share, "left"))
        return (first - BINS // 2) * self.width, (min(last, BINS - 1) + 1 - BINS // 2) * self.width

    def _entropy(self) -> tuple[float, float]:
        reach = max(-self.low, self.high)
        used = max(int(np.ceil(reach / self.width)), 1)
        least = min(used, LEVELS // 2)
        tried = np.unique(np.linspace(least, used, CANDIDATES).round().astype(int))
        losses = [self._loss(int(bins)) for bins in tried]
        cut = int(tried[int(np.argmin(losses))]) * self.width
        return -cut, cut

    def _loss(self, bins: int) -> float:
        """Divergence of the distribution cut at ``bins`` bins from zero, in 8 bits, from that in float."""
        middle = BINS // 2
        start = middle - bins if self.low < 0 else middle
        stop = middle + bins if self.high > 0 else middle
        kept = self.counts[start:stop].astype(np.float64)
        wanted = kept.copy()
        wanted[0] += self.counts[:start].sum()
        wanted[-1] += self.counts[stop:].sum()
        edges = np.unique(np.linspace(0, len(kept), min(LEVELS, len(kept)) + 1).round().astype(int))[:-1]
        filled = (wanted > 0).astype(np.float64)
        sums, homes = np.add.reduceat(kept, edges), np.add.reduceat(filled, edges)
        sizes = np.diff([*edges, len(kept)])
        spread = np.repeat(sums / np.maximum(homes, 1), sizes) * filled
        p, q = wanted / wanted.sum(), spread / max(spread.sum(), 1)
        some = p > 0
        return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))).sum())
