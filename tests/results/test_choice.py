"""Choosing inside a budget, on fronts that were worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.proportions import paired_difference
from edgexfer.results import Accuracy, Budget, Candidate, choose, median_interval
from edgexfer.results.choice import difference, front


def candidate(name: str, ms: float, top1: float, **more: Any) -> Candidate:
    values: dict[str, Any] = {"size_bytes": 4_000_000, "memory_bytes": 60_000_000, "images": 1000, **more}
    accuracy = Accuracy(top1, values.pop("images"), values.pop("right", ()))
    return Candidate(name, Path(f"{name}.onnx"), name, "float32", 1, accuracy, ms / 1000, **values)


SLOW, GOOD, FAST = candidate("slow", 40, 0.95), candidate("good", 20, 0.90), candidate("fast", 5, 0.70)
BEATEN, TWIN = candidate("beaten", 25, 0.85), candidate("twin", 20, 0.90)
ALL = [BEATEN, SLOW, GOOD, TWIN, FAST]


def test_the_front_holds_what_nobody_beats_and_equal_ones_once() -> None:
    assert front(ALL, ("latency_s",)) == (FAST, GOOD, SLOW)


def test_what_has_a_budget_counts_for_the_front_too() -> None:
    small = candidate("small", 25, 0.85, size_bytes=1_000_000)
    assert front([*ALL, small], ("latency_s",)) == (FAST, GOOD, SLOW)
    assert front([*ALL, small], ("latency_s", "size_bytes")) == (FAST, GOOD, small, SLOW)


@pytest.mark.parametrize(("ms", "expected"), [(5, FAST), (19.9, FAST), (20, GOOD), (39, GOOD), (40, SLOW), (900, SLOW)])
def test_the_most_accurate_inside_the_budget_is_chosen(ms: float, expected: Candidate) -> None:
    found = choose(ALL, Budget(latency_s=ms / 1000))
    assert found.chosen is expected and found.nearest is None


def test_every_budget_has_to_be_kept() -> None:
    heavy = candidate("heavy", 10, 0.99, memory_bytes=900_000_000)
    large = candidate("large", 10, 0.98, size_bytes=90_000_000)
    budget = Budget(0.030, 5_000_000, 100_000_000)
    found = choose([*ALL, heavy, large], budget)
    assert found.chosen is GOOD
    assert budget.overrun(heavy) == {"memory_bytes": 9.0} and budget.overrun(large) == {"size_bytes": 18.0}


def test_a_candidate_of_unknown_memory_keeps_no_budget_of_memory() -> None:
    unknown = candidate("unknown", 1, 0.99, memory_bytes=None)
    assert Budget(memory_bytes=1).overrun(unknown) == {"memory_bytes": math.inf}
    assert Budget(latency_s=1.0).fits(unknown)


def test_of_equally_accurate_ones_the_fastest_is_chosen_then_the_smallest() -> None:
    faster = candidate("faster", 19, 0.90)
    smaller = candidate("smaller", 19, 0.90, size_bytes=10)
    assert choose([GOOD, faster, smaller], Budget(latency_s=0.02)).chosen is smaller


def test_the_next_step_up_is_the_cheapest_better_one_and_what_it_gains() -> None:
    dearer = candidate("dearer", 30, 0.91)
    found = choose([*ALL, dearer], Budget(latency_s=0.02))
    assert found.next_step is dearer and found.gain is not None
    assert found.gain.value == pytest.approx(0.01, abs=1e-12) and not found.gain.shown
    assert choose(ALL, Budget(latency_s=1.0)).next_step is None


def test_where_nothing_fits_the_nearest_by_ratio_is_named() -> None:
    small = candidate("small", 8, 0.4, size_bytes=40_000_000)  # ten times too large
    found = choose([SLOW, GOOD, small], Budget(0.010, 4_000_000))
    assert found.chosen is None and found.next_step is None and found.alike is None
    assert found.nearest is GOOD and found.budget.overrun(GOOD) == {"latency_s": pytest.approx(2.0, abs=1e-12)}


def test_a_faster_one_that_the_pictures_cannot_tell_apart_is_told() -> None:
    near, far = candidate("near", 8, 0.89), candidate("far", 5, 0.80)
    found = choose([GOOD, near, far], Budget(latency_s=0.02))
    assert found.alike is not None and found.alike.candidate is near
    few = [candidate(c.name, c.latency_s * 1000, c.top1, images=40) for c in (GOOD, near, far)]
    told = choose(few, Budget(latency_s=0.02)).alike
    assert told is not None and told.candidate.name == "far"  # 40 pictures tell nothing
    assert choose([GOOD, far], Budget(latency_s=0.02)).alike is None


def test_newcombes_interval_is_the_published_one() -> None:
    found = difference(Accuracy(56 / 70, 70), Accuracy(48 / 80, 80))  # Newcombe 1998, table II, example (a), method 10
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    assert found.shown and not found.paired


def test_paired_pictures_are_compared_one_by_one() -> None:
    first, second = np.ones(100, bool), np.ones(100, bool)
    first[:4], second[:11] = False, False  # four wrong in both, seven only in the second
    found = difference(*(Accuracy(float(r.mean()), 100, tuple(map(bool, r))) for r in (first, second)))
    assert found == paired_difference(first.tolist(), second.tolist()) and found.shown
    assert not difference(Accuracy(0.96, 100), Accuracy(0.89, 100)).shown  # the same shares, not paired


def test_of_an_unknown_number_of_pictures_nothing_is_claimed() -> None:
    found = difference(Accuracy(1.0, 0), Accuracy(0.0, 500))
    assert (found.low, found.high, found.shown) == (-1.0, 1.0, False)
    uncounted, counted = candidate("near", 8, 0.89, images=0), candidate("near", 8, 0.89)
    for one, other in ((GOOD, uncounted), (candidate("good", 20, 0.90, images=0), counted)):
        assert choose([one, other], Budget(latency_s=0.02)).alike is None
    assert choose([GOOD, uncounted, counted], Budget(latency_s=0.02)).alike is not None


def test_the_interval_of_a_median_holds_it_and_needs_enough_times() -> None:
    times = [float(v) for v in 0.01 * np.random.default_rng(0).lognormal(0, 0.05, 300)]
    found = median_interval(times)
    assert found is not None and found[0] < float(np.median(times)) < found[1] < 1.02 * found[0]
    assert median_interval(times[:29]) is None
