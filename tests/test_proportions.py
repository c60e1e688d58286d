"""Intervals of shares and of their differences, against published examples and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgexfer.proportions import TWO_SIDED_95, paired_difference, wilson


def pairs(both: int, first: int, second: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Answers to so many pictures that both get right, only the first, only the second, and neither."""
    return (
        [True] * (both + first) + [False] * (second + neither),
        [True] * both + [False] * first + [True] * second + [False] * neither,
    )


def test_a_share_has_wilsons_interval() -> None:
    assert wilson(45, 50) == pytest.approx((0.7864, 0.9565), abs=1e-4)  # Newcombe 1998 gives the formula
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 5)[1] == 1.0


def test_a_paired_difference_is_that_of_agresti_and_min() -> None:
    found = paired_difference(*pairs(84, 6, 2, 8))
    middle, reach = 4 / 102, TWO_SIDED_95 * math.sqrt(9 - 16 / 102) / 102
    assert found.value == pytest.approx(0.04) and found.paired and not found.shown
    assert (found.low, found.high) == pytest.approx((middle - reach, middle + reach))
    assert paired_difference(*pairs(60, 15, 5, 20)).shown


def test_pictures_that_both_get_right_or_wrong_are_no_noise() -> None:
    few, many = paired_difference(*pairs(50, 6, 0, 44)), paired_difference(*pairs(94, 6, 0, 0))
    assert (few.low, few.high) == (many.low, many.high) and few.shown


def test_without_a_difference_nothing_is_shown_but_little_is_known() -> None:
    found = paired_difference([True, True, False], [True, True, False])
    assert found.value == 0 and not found.shown and found.low < -0.3 and found.high > 0.3


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, drawn = np.random.default_rng(0), 4_000
    cells = rng.multinomial(60, [0.7, 0.12, 0.05, 0.13], drawn)
    found = [paired_difference(*pairs(*map(int, cell))) for cell in cells]
    held = np.mean([one.low <= 0.07 <= one.high for one in found])
    assert held == pytest.approx(0.95, abs=0.015)
