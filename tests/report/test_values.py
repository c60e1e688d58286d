"""Numbers as people read them, and exact underneath."""

from __future__ import annotations

import math

import pytest
from markupsafe import escape

from edgexfer.report import values


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (values.percent(0.98333), "98.3%"),
        (values.percent(1), "100.0%"),
        (values.points(-0.0134), "−1.3"),
        (values.points(0.02), "+2.0"),
        (values.points(0.0004), "0.0"),
        (values.amount(1_042_104), "1.04 M"),
        (values.amount(999_900), "1.00 M"),
        (values.amount(981_000_000), "981 M"),
        (values.amount(512), "512"),
        (values.duration(0.000623), "623 µs"),
        (values.duration(0.00312), "3.12 ms"),
        (values.duration(41.75), "41.8 s"),
        (values.duration(600), "10.0 min"),
        (values.duration(9000), "2.5 h"),
        (values.milliseconds(0.01234), "12.3"),
        (values.times(10.73), "10.7×"),
        (values.small(3.2e-15), "3.2e-15"),
        (values.plain(1257), "1,257"),
        (values.plain(0.123456), "0.1235"),
    ],
)
def test_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_a_value_carries_the_exact_number_and_its_origin() -> None:
    value = values.shown(0.9833333333333333, values.percent, "student/run.json#/scores/test_top1")
    expected = '<data value="0.9833333333333333" data-from="student/run.json#/scores/test_top1">98.3%</data>'
    assert value.__html__() == expected


def test_the_origin_is_escaped() -> None:
    value = values.shown(1, values.plain, '"><script>x</script>#/a')
    assert "<script>" not in value.__html__()
    assert str(escape(value)) == value.__html__()


@pytest.mark.parametrize("number", [None, math.nan, math.inf, "0.9", True, [1]])
def test_what_is_no_finite_number_is_shown_as_missing(number: object) -> None:
    assert "missing" in values.shown(number, values.percent, "x").__html__()


WRITERS = [
    *(values.percent, values.points, values.amount, values.duration, values.milliseconds),
    *(values.times, values.celsius, values.clock, values.small, values.plain),
]


@pytest.mark.parametrize(
    "number", [float("inf"), float("nan"), 1e308, -1e308, pytest.param(10**400, id="10**400"), True, "1", None]
)
def test_what_is_no_number_of_this_world_is_shown_as_missing(number: object) -> None:
    assert not values.is_number(number)
    for write in WRITERS:
        assert values.shown(number, write, "a#/b").exact is None


@pytest.mark.parametrize("number", [values.LARGEST, 5e-324, 10**100, 0])
def test_any_other_number_can_be_written(number: float) -> None:
    for write in WRITERS:
        assert values.shown(number, write, "a#/b").text
