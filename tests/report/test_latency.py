"""The mean, and that the page and the device tell the same percentiles."""

from __future__ import annotations

import pytest

from edgexfer.report.latency import mean
from edgexfer.results.statistics import ENOUGH, percentile


def test_the_mean_of_nothing_is_nothing() -> None:
    assert mean([]) is None
    assert mean([1.0, 2.0, 6.0]) == pytest.approx(3.0, abs=1e-12)


def test_the_page_and_the_device_agree() -> None:
    from edgexfer.device import load

    statistics = load("_edgexfer_statistics")
    assert statistics.ENOUGH is ENOUGH
    times = [0.001 * (1 + (i * 7919 % 1000) / 350) for i in range(700)]
    told = statistics.summary(times)
    for percent in ENOUGH:
        assert percentile(times, percent) == pytest.approx(told[f"p{percent}_s"], rel=1e-12)
    assert mean(times) == pytest.approx(told["mean_s"], rel=1e-12)
