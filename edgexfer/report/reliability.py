"""The reliability diagram: accuracy by probability, and below it on how many pictures each bar stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgexfer.report import svg

RIGHT, UNKEPT, BEYOND = 0, 1, 2
"""Colours of what was right as promised, promised and not right, and right beyond the promise."""


@dataclass(frozen=True)
class Interval:
    """The pictures whose largest probability lies in one interval.

    Attributes:
        low: Lower end, excluded.
        high: Upper end, included.
        count: How many pictures.
        confidence: Their mean largest probability; NaN of none.
        accuracy: Their share of right answers; NaN of none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def draw_reliability(name: str, intervals: Sequence[Interval], description: str) -> Markup:
    """Bars of accuracy beside the line of honest probabilities, the gap between them in a colour of its own."""
    filled = [one for one in intervals if one.count]
    tips: list[str] = []
    with svg.panels(350, [235, 75]) as (drawing, (upper, lower)):
        upper.plot([0, 1], [0, 1], color=svg.MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for one in filled:
            middle, width = (one.low + one.high) / 2, (one.high - one.low) * 0.86
            kept = min(one.accuracy, one.confidence)
            gap = one.confidence - one.accuracy
            upper.bar([middle], [kept], width, color=svg.series(RIGHT))[0].set_gid(svg.tip_id(len(tips)))
            colour = svg.series(UNKEPT if gap > 0 else BEYOND)
            upper.bar([middle], [abs(gap)], width, bottom=kept, color=colour, alpha=0.55)
            tips.append(
                f"{one.low:.0%} to {one.high:.0%}: {one.count:,} pictures, given {one.confidence:.1%}, right"
                f" {one.accuracy:.1%}"
            )
            lower.bar([middle], [one.count], width, color=svg.MUTED, alpha=0.45)
        upper.set_xlim(0, 1)
        upper.set_ylim(0, 1.02)
        upper.set_title("share that is right", loc="left", color=svg.MUTED, fontsize=svg.FONT)
        svg.percent_axis(upper.yaxis)
        lower.set_title("pictures", loc="left", color=svg.MUTED, fontsize=svg.FONT)
        svg.whole_axis(lower.yaxis)
        svg.percent_axis(lower.xaxis)
        lower.set_xlabel("probability given to the answer")
        return svg.inline(drawing, name, description, tips)
