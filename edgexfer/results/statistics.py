r"""Percentiles only where enough samples carry them, and the ratio of two medians with its interval.

.. math:: r = \frac{\mathrm{median}(b)}{\mathrm{median}(a)}

Inferences that follow one another are not independent (clock, cache and temperature last longer than one of them), so
the bootstrap draws whole blocks of consecutive times (Carlstein 1986, "The use of subseries values for estimating the
variance of a general statistic from a stationary sequence"; block length :math:`n^{1/3}` after Hall, Horowitz and
Jing 1995, "On blocking rules for the bootstrap with dependent data").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from edgexfer.device import load
from edgexfer.errors import DeviceError

ENOUGH: Mapping[int, int] = load("_edgexfer_statistics").ENOUGH
"""Least number of samples by percentile: MLPerf Inference's early-stopping counts at 99% confidence."""
LEAST_TIMES = 30
RESAMPLES = 2000
CONFIDENCE = 0.95
MOST_BLOCKS = 400
MOST_BINS = 4096


@dataclass(frozen=True)
class Interval:
    """A ratio and where it lies.

    Attributes:
        ratio: Median of the second over median of the first.
        low: Lower end of the 95% interval.
        high: Upper end.
    """

    ratio: float
    low: float
    high: float

    @property
    def difference_shown(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.low > 1.0 or self.high < 1.0


def percentile(latency_s: Sequence[float], percent: int) -> float | None:
    """A percentile in seconds, as the device computes it; ``None`` where too few samples carry it (``ENOUGH``).

    Raises:
        DeviceError: The percentile is none of these and not the median.
    """
    if percent not in ENOUGH:
        raise DeviceError(f"no percentile {percent!r} is reported; allowed: {', '.join(map(str, ENOUGH))}")
    if len(latency_s) < ENOUGH[percent]:
        return None
    return float(load("_edgexfer_statistics").percentile(sorted(latency_s), percent))


def mean(latency_s: Sequence[float]) -> float | None:
    """The arithmetic mean; ``None`` of nothing."""
    return float(np.mean(latency_s)) if latency_s else None


def summary(latency_s: Sequence[float]) -> dict[str, float | None]:
    """``p50_s, p90_s, p95_s, p99_s, mean_s, min_s, max_s, runs``, computed as the device computes them."""
    return cast("dict[str, float | None]", load("_edgexfer_statistics").summary(latency_s))


def ratio_of_medians(
    first_s: Sequence[float],
    second_s: Sequence[float],
    *,
    first_runs: Sequence[int] = (),
    second_runs: Sequence[int] = (),
    seed: int = 0,
) -> Interval:
    """Median of the second over median of the first, with a seeded block-bootstrap interval.

    Of a single run the interval tells how times vary within it. Two runs of one model on one machine can differ by a
    percent or two more (memory layout, neighbours, temperature). Where there are several runs, rounds in a process of
    their own or repeated results, whole runs are drawn first and blocks within them after, so that the interval tells
    of both; of very few runs it is still a little too narrow.

    Args:
        first_s: Times ``(N,)`` in the order they were taken.
        second_s: Times ``(M,)`` likewise.
        first_runs: How many of the first times belong to each run, in order; empty for a single one.
        second_runs: Likewise.
        seed: Of the resampling; the same seed gives the same interval.

    Raises:
        DeviceError: There are too few times for an interval, or they are not above zero.
    """
    for name, times in (("first", first_s), ("second", second_s)):
        if len(times) < LEAST_TIMES:
            raise DeviceError(
                f"the {name} result has {len(times)} timed inferences; an interval needs {LEAST_TIMES} or more: bench"
                " again with a larger --min-runs"
            )
        if not min(times) > 0:
            raise DeviceError(f"the {name} result holds a time of {min(times)!r} s; expected above 0: bench again")
    generator = np.random.Generator(np.random.PCG64(seed))
    below = _resampled_medians(np.asarray(first_s, np.float64), first_runs, generator)
    ratios = _resampled_medians(np.asarray(second_s, np.float64), second_runs, generator) / below
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(np.median(second_s) / np.median(first_s)), float(low), float(high))


def median_interval(
    latency_s: Sequence[float], runs: Sequence[int] = (), *, seed: int = 0
) -> tuple[float, float] | None:
    """The 95% interval of a median in seconds, resampled as in ``ratio_of_medians``; ``None`` of too few times."""
    if len(latency_s) < LEAST_TIMES:
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    medians = _resampled_medians(np.asarray(latency_s, np.float64), runs, generator)
    low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _resampled_medians(
    times: npt.NDArray[np.float64], runs: Sequence[int], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Medians ``(RESAMPLES,)`` of resamples drawn in runs, and in blocks within them.

    Each block is kept as counts over at most ``MOST_BINS`` quantile bins (one a value for fewer values), so that half
    a million times cost no more than a few thousand.
    """
    edges = np.unique(np.quantile(times, np.linspace(0, 1, min(len(times), MOST_BINS)), method="inverted_cdf"))
    parts = np.split(times, np.cumsum(runs)[:-1]) if len(runs) > 1 and sum(runs) == len(times) else [times]
    parts = [part for part in parts if len(part)]
    often = generator.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=RESAMPLES)
    drawn = sum(
        (_drawn(part, edges, often[:, number], generator) for number, part in enumerate(parts)),
        start=np.zeros((RESAMPLES, len(edges))),
    )
    reached = np.cumsum(drawn, axis=1)
    half = reached[:, -1:] / 2
    low = (reached < half).sum(axis=1)
    high = np.minimum((reached <= half).sum(axis=1), len(edges) - 1)
    return np.asarray((edges[low] + edges[high]) / 2, np.float64)


def _drawn(
    times: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
    often: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Counts ``(RESAMPLES, bins)`` of a run's blocks, of which each resample takes the whole run ``often`` times."""
    count = len(times)
    length = max(math.ceil(count ** (1 / 3)), math.ceil(count / MOST_BLOCKS))
    blocks = math.ceil(count / length)
    counts = np.zeros((blocks, len(edges)))
    np.add.at(counts, (np.arange(count) // length, np.searchsorted(edges, times)), 1)
    drawn = generator.multinomial(often * blocks, np.full(blocks, 1 / blocks))
    return np.asarray(drawn @ counts, np.float64)
