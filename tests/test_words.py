"""Numbers in sentences."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.words import counted, people_size, people_time, significant


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (12_345, "12,345 epochs")]
)
def test_a_count_is_said_with_its_noun(count: int, said: str) -> None:
    assert counted(count, "epoch") == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (9000, "2.5 h")]
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert people_time(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [(90, "90 B"), (701_233, "701 kB"), (4_207_312, "4.21 MB"), (2.5e9, "2.50 GB"), (999_900, "1.00 MB")],
)
def test_a_size_is_said_in_the_unit_that_suits_it(size: float, said: str) -> None:
    assert people_size(size) == said


@pytest.mark.parametrize(("number", "said"), [(0.62345, "0.623"), (1594.2, "1,594"), (0, "0"), (-0.0123, "-0.0123")])
def test_three_digits_are_significant(number: float, said: str) -> None:
    assert significant(number) == said


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_significant_digits_stay_within_half_a_unit_of_the_third(number: float) -> None:
    """At most half a unit of the third digit away, or of the last whole digit for larger numbers."""
    read = float(significant(number).replace(",", ""))
    allowed = min(0.5, 0.005 * 10.0 ** math.floor(math.log10(number) + 1e-3))
    assert abs(read - number) <= allowed * (1 + 1e-6)
