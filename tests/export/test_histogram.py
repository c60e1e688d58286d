from __future__ import annotations

import numpy as np
import pytest

from edgexfer.export.histogram import BINS, Histogram


def filled(values: np.ndarray, parts: int = 1) -> Histogram:
    histogram = Histogram()
    for part in np.array_split(values, parts):
        histogram.add(part)
    return histogram


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("parts", [1, 7, 500])
def test_neither_order_nor_cuts_matter_and_memory_stays(order: int, parts: int) -> None:
    values = np.random.default_rng(0).normal(0, 3, 5000) * np.linspace(1e-6, 40, 5000)
    once, other = filled(values), filled(values[::order], parts)
    assert np.array_equal(once.counts, other.counts) and once.width == other.width
    assert other.counts.shape == (BINS,) and int(other.counts.sum()) == 5000
    assert (once.low, once.high) == (np.float32(values.min()), np.float32(values.max()))


def test_minmax_and_percentiles_are_those_of_the_values() -> None:
    values = np.random.default_rng(1).gamma(2.0, 1.0, 200_000) - 1
    histogram = filled(values, 3)
    assert histogram.range("minmax") == (np.float32(values.min()), np.float32(values.max()))
    for kept in (99.99, 99.9):
        low, high = histogram.range(f"percentile {kept}")
        wanted = np.percentile(values, [(100 - kept) / 2, 100 - (100 - kept) / 2])
        assert low == pytest.approx(wanted[0], abs=1.01 * histogram.width)
        assert high == pytest.approx(wanted[1], abs=1.01 * histogram.width)


def test_entropy_cuts_off_a_far_outlier_and_keeps_an_even_spread() -> None:
    rng = np.random.default_rng(2)
    values = np.abs(rng.normal(0, 1, 300_000))
    values[:10] = 60.0
    low, high = filled(values).range("entropy")
    assert low == pytest.approx(values.min(), abs=1e-4) and 2.5 < high < 10
    even = rng.uniform(-2, 2, 300_000)
    low, high = filled(even).range("entropy")
    assert low == pytest.approx(-2, abs=0.05) and high == pytest.approx(2, abs=0.05)


def test_what_no_range_can_hold_is_left_out() -> None:
    histogram = filled(np.array([np.nan, np.inf, -1e38, 1.0, -2.0]))
    assert histogram.range("minmax") == (-2.0, 1.0)
    nothing = filled(np.array([np.nan, np.inf]))
    assert nothing.range("entropy") == (0.0, 0.0)
    zeros = filled(np.zeros(100))
    assert zeros.range("minmax") == zeros.range("entropy") == zeros.range("percentile 99.9") == (0.0, 0.0)
