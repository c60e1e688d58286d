"""Numbers as the page shows them: rounded for people, exact underneath, and saying where they came from.

Each becomes ``<data value="0.98333" data-from="student/run.json#/scores/test_top1">98.3%</data>``, so that every number
on the page can be held against the file it was read from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

from markupsafe import Markup

from edgexfer.words import significant

Number = float | int
LARGEST = 1e100
"""No file of edgexfer holds a larger number; one can be written in any unit, and as a float."""
MISSING = Markup('<span class="missing" title="not there">&ndash;</span>')


@dataclass(frozen=True)
class Value:
    """A number with its text and its origin.

    Attributes:
        text: What is read.
        exact: The number itself; ``None`` where there is none.
        origin: ``file#/json/pointer``; behind ``" | "`` what was derived from it (``p50``), and with ``" ÷ "`` between
            two origins their ratio, with ``" − "`` their difference.
    """

    text: str
    exact: Number | None
    origin: str

    def __html__(self) -> str:
        if self.exact is None:
            return MISSING
        return Markup('<data value="{}" data-from="{}">{}</data>').format(repr(self.exact), self.origin, self.text)

    def __str__(self) -> str:
        return self.text


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether ``value`` is a number of at most ``LARGEST`` either way; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST


def shown(number: Any, write: Callable[[Number], str], origin: str) -> Value:
    """``number`` written by ``write``; anything but a number of at most ``LARGEST`` is shown as missing."""
    if not is_number(number):
        return Value("–", None, origin)
    return Value(write(number), number, origin)


def percent(fraction: Number) -> str:
    """``0.98333`` as ``98.3%``."""
    return f"{fraction * 100:.1f}%"


def points(difference: Number) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    text = f"{abs(difference) * 100:.1f}"
    sign = "" if float(text) == 0 else "−" if difference < 0 else "+"
    return f"{sign}{text}"


def amount(count: Number) -> str:
    """A large count: ``1.04 M``, ``11.2 M``, ``0.98 G``."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= unit * 0.9995:
            return f"{significant(count / unit)} {name}"
    return f"{count:g}"


def duration(seconds: Number) -> str:
    """Seconds as a person says them: ``1.83 ms``, ``12.4 s``, ``3.1 min``, ``2.4 h``."""
    if seconds < 1e-3:
        return f"{significant(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{significant(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{significant(seconds)} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def milliseconds(seconds: Number) -> str:
    """Seconds as milliseconds, without the unit."""
    return significant(seconds * 1e3)


def times(ratio: Number) -> str:
    """A ratio: ``10.7×``."""
    return f"{significant(ratio)}×"


def celsius(degrees: Number) -> str:
    """A temperature: ``61.2 °C``."""
    return f"{degrees:.1f} °C"


def clock(hertz: Number) -> str:
    """A clock rate: ``1,500 MHz``."""
    return f"{hertz / 1e6:,.0f} MHz"


def small(number: Number) -> str:
    """An error that may be tiny: ``3.1e-07`` or ``0.0123``."""
    return f"{number:.2g}"


def plain(number: Number) -> str:
    """A whole number with its thousands apart, or four significant digits."""
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"
