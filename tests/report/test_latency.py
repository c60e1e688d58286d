"""The mean, the Pareto front, and that the page and the device tell the same percentiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.report.latency import mean, pareto_front
from edgexfer.results.statistics import ENOUGH, percentile


def test_the_mean_of_nothing_is_nothing() -> None:
    assert mean([]) is None
    assert mean([1.0, 2.0, 6.0]) == pytest.approx(3.0, abs=1e-12)


def test_the_front_of_a_known_set() -> None:
    points = [(3.0, 0.97), (1.0, 0.90), (2.0, 0.95), (2.5, 0.94), (4.0, 0.97), (2.0, 0.95)]
    assert pareto_front(points) == [1, 2, 0]


@given(st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1)), min_size=1, max_size=30))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    for i in front:
        assert not any(s < points[i][0] and a >= points[i][1] for s, a in points)
    for seconds, accuracy in points:
        assert any(points[i][0] <= seconds and points[i][1] >= accuracy for i in front)


def test_the_page_and_the_device_agree() -> None:
    from edgexfer.device import load

    statistics = load("_edgexfer_statistics")
    assert statistics.ENOUGH is ENOUGH
    times = [0.001 * (1 + (i * 7919 % 1000) / 350) for i in range(700)]
    told = statistics.summary(times)
    for percent in ENOUGH:
        assert percentile(times, percent) == pytest.approx(told[f"p{percent}_s"], rel=1e-12)
    assert mean(times) == pytest.approx(told["mean_s"], rel=1e-12)
