"""Horizontal bars: a few series side by side in each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from edgexfer.report import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = 13
GAP = 25


@dataclass(frozen=True)
class Bars:
    """One row.

    Attributes:
        name: Its label, above the bars.
        values: One for each series; a series that has none is NaN.
        tips: What each bar says on hover.
    """

    name: str
    values: Sequence[float]
    tips: Sequence[str]


def draw_bars(
    name: str,
    rows: Sequence[Bars],
    colours: Sequence[int],
    *,
    axis: str,
    write: Callable[[float], str],
    width: float,
    description: str,
    most: float | None = None,
) -> Markup:
    """Bars from 0 to the right (to the left where a value is negative), each with its value at its end.

    Args:
        name: Of the figure.
        rows: From top to bottom.
        colours: Of each series, positions in the page's colours.
        axis: What the horizontal axis shows, with its unit.
        write: Writes a value at the end of its bar.
        width: In CSS pixels.
        description: What a screen reader says.
        most: The largest value that there can be, 100 for percentages: no tick lies beyond it.
    """
    tips: list[str] = []
    tall = GAP + BAR * len(colours)
    with svg.figure(width, 40 + tall * len(rows)) as (drawing, axes):
        axes.grid(False)
        axes.set_yticks([])
        axes.set_ylim(tall * len(rows), 0)
        for place, row in enumerate(rows):
            top = place * tall
            for series, value in enumerate(row.values):
                if value == value:
                    middle = top + GAP - 5 + BAR * (series + 0.5)
                    _draw_bar(axes, middle, value, svg.series(colours[series]), svg.tip_id(len(tips)), write(value))
                    tips.append(row.tips[series])
            svg.label_row(axes, top + GAP - 14, svg.shortened(row.name, round(width / 8)))
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + (high - low) * (0.09 if width > 400 else 0.2))  # room for the last value
        if most is not None:
            axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= most])
        axes.set_xlabel(axis)
        return svg.inline(drawing, name, description, tips)


def _draw_bar(axes: Axes, middle: float, value: float, colour: str, gid: str, text: str) -> None:
    axes.barh([middle], [value], height=BAR - 2.5, color=colour)[0].set_gid(gid)
    at = (max(value, 0), middle)
    label = axes.annotate(text, at, (4, 0), textcoords="offset points", va="center", fontsize=svg.FONT - 1)
    label.set_color(svg.MUTED)
    label.set_in_layout(False)
