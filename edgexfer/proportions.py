"""Shares of pictures that were answered right: what one may be, and what two differ by, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TWO_SIDED_95 = 1.959964
"""Quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Difference:
    """One share minus another.

    Attributes:
        value: The difference, -1 to 1.
        low: Lower end of its 95% interval.
        high: Upper end.
        paired: Whether the same pictures were compared one by one.
    """

    value: float
    low: float
    high: float
    paired: bool

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def wilson(right: float, count: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927), sound at 0 and 1 and for few pictures.

    Args:
        right: How many of ``count`` were right; may be a mean over repeats.
        count: How many were asked, at least 1.
    """
    share, room = right / count, TWO_SIDED_95**2 / count
    middle = share + room / 2
    reach = TWO_SIDED_95 * math.sqrt(share * (1 - share) / count + room / (4 * count))
    return max(0.0, (middle - reach) / (1 + room)), min(1.0, (middle + reach) / (1 + room))


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> Difference:
    """The share of the first minus that of the second, of which each holds whether a picture was answered right.

    Of n pictures b are right in the first only and c in the second only: (b - c) / n. Pictures on which both agree say
    nothing. The interval is Wald's with half a picture added to each of the four cells, which holds for few pictures,
    and where the two never differ, too.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", 2005.
    """
    only_first = sum(bool(a and not b) for a, b in zip(first, second, strict=True))
    only_second = sum(bool(b and not a) for a, b in zip(first, second, strict=True))
    b, c, n = only_first + 0.5, only_second + 0.5, len(first) + 2
    middle, reach = (b - c) / n, TWO_SIDED_95 * math.sqrt((b + c) - (b - c) ** 2 / n) / n
    value = (only_first - only_second) / len(first)
    return Difference(value, max(-1.0, middle - reach), min(1.0, middle + reach), paired=True)
