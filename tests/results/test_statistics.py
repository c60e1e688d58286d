"""What is said of times: percentiles, and intervals of the ratio of two medians."""

from __future__ import annotations

import numpy as np
import pytest

from edgexfer.errors import DeviceError
from edgexfer.results import percentile, ratio_of_medians, summary
from edgexfer.results.statistics import ENOUGH, mean
from tests.results.resultfiles import noisy


@pytest.mark.parametrize(("percent", "least"), [(50, 1), (90, 64), (95, 130), (99, 662)])
def test_percentiles_need_enough_samples(percent: int, least: int) -> None:
    values = [float(v) for v in range(1, least + 1)]
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-12)
    assert percentile(values[:-1], percent) is None


def test_the_mean_is_the_devices_and_that_of_nothing_is_nothing() -> None:
    times = [0.001 * (1 + (i * 7919 % 1000) / 350) for i in range(700)]
    assert mean([]) is None
    assert mean([1.0, 2.0, 6.0]) == pytest.approx(3.0, abs=1e-12)
    assert mean(times) == pytest.approx(summary(times)["mean_s"], rel=1e-12)


def test_percentiles_of_unsorted_times_are_those_of_the_summary() -> None:
    times = [0.001 * (1 + (i * 7919 % 1000) / 350) for i in range(700)]
    told = summary(times)
    for percent in ENOUGH:
        assert percentile(times, percent) == pytest.approx(np.percentile(times, percent), rel=1e-12)
        assert percentile(times, percent) == pytest.approx(told[f"p{percent}_s"], rel=1e-12)


def test_the_summary_is_the_devices() -> None:
    found = summary([0.3, 0.1, 0.2])
    assert found["p50_s"] == 0.2 and found["p90_s"] is None and found["max_s"] == 0.3 and found["runs"] == 3


def test_an_unknown_percentile_is_refused() -> None:
    with pytest.raises(DeviceError, match="no percentile 42 is reported; allowed: 50, 90, 95, 99"):
        percentile([1.0], 42)


def test_the_interval_is_seeded_and_holds_the_ratio() -> None:
    first, second = noisy(0.01, 1), noisy(0.02, 2)
    found = ratio_of_medians(first, second)
    assert found == ratio_of_medians(first, second) != ratio_of_medians(first, second, seed=1)
    assert found.ratio == pytest.approx(np.median(second) / np.median(first), rel=1e-12)
    assert found.low < found.ratio < found.high and found.low > 1.9 and found.difference_shown


def test_the_interval_agrees_with_a_plain_bootstrap_of_independent_times() -> None:
    first, second = noisy(0.01, 3, 500), noisy(0.0102, 4, 500)
    rng = np.random.default_rng(0)
    plain = [np.median(rng.choice(second, 500)) / np.median(rng.choice(first, 500)) for _ in range(2000)]
    found = ratio_of_medians(first, second)
    width = np.quantile(plain, 0.975) - np.quantile(plain, 0.025)
    assert found.high - found.low == pytest.approx(width, rel=0.35)
    assert found.low == pytest.approx(np.quantile(plain, 0.025), abs=0.35 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    held = sum(
        found.low <= 1.0 <= found.high
        for found in (ratio_of_medians(noisy(0.01, 2 * i, 150), noisy(0.01, 2 * i + 1, 150)) for i in range(100, 140))
    )
    assert 33 <= held <= 40


def test_times_that_hang_together_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    drift = np.repeat(rng.normal(0, 0.05, 40), 50)
    slow = 0.01 * np.exp(drift + rng.normal(0, 0.005, 2000))
    mixed = rng.permutation(slow)
    spans = [ratio_of_medians([0.01] * 50, [float(v) for v in times]) for times in (slow, mixed)]
    assert spans[0].high - spans[0].low > 2 * (spans[1].high - spans[1].low)


def test_half_a_million_times_are_no_trouble() -> None:
    found = ratio_of_medians(noisy(0.001, 7, 500_000), noisy(0.001003, 8, 500_000))
    assert found.ratio == pytest.approx(1.003, abs=5e-4) and found.high - found.low < 2e-3
    assert found.low < found.ratio < found.high


def test_what_differs_from_run_to_run_widens_the_interval() -> None:
    rng = np.random.default_rng(6)
    levels = 0.01 * np.exp(rng.normal(0, 0.02, 8))  # each process has its own speed
    times = [float(v) for level in levels for v in level * rng.lognormal(0, 0.002, 200)]
    plain = ratio_of_medians([0.01] * 50, times)
    honest = ratio_of_medians([0.01] * 50, times, second_runs=[200] * 8)
    assert honest.ratio == plain.ratio and honest.low < honest.ratio < honest.high
    spread = np.std([np.median(rng.choice(levels, 8)) for _ in range(4000)]) / 0.01
    assert (honest.high - honest.low) / 3.92 == pytest.approx(spread, rel=0.3)
    assert honest.high - honest.low > 1.5 * (plain.high - plain.low)


def test_equal_times_give_an_interval_of_one_point() -> None:
    found = ratio_of_medians([0.01] * 40, [0.01] * 40)
    assert (found.low, found.ratio, found.high) == (1, 1, 1) and not found.difference_shown


def test_too_few_or_impossible_times_are_refused() -> None:
    with pytest.raises(DeviceError, match="second result has 29 timed inferences; an interval needs 30"):
        ratio_of_medians([0.1] * 30, [0.1] * 29)
    with pytest.raises(DeviceError, match=r"first result holds a time of 0\.0 s; expected above 0"):
        ratio_of_medians([0.0] * 30, [0.1] * 30)
