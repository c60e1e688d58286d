"""Values over time, one panel above the other: latency, temperature, clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from edgexfer.report import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHTS = (190, 100)
FAR = 5.0
"""A panel whose bands reach this many times beyond its lowest line is drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Line:
    """One configuration in one panel.

    Attributes:
        times_s: Seconds since its measurement began.
        values: In the panel's unit; a gap is NaN.
        tops: Upper end of the band above the line, or nothing.
        tips: What each point says on hover.
        colour: Position in the page's colours.
    """

    times_s: Sequence[float]
    values: Sequence[float]
    tops: Sequence[float]
    tips: Sequence[str]
    colour: int


@dataclass(frozen=True)
class Panel:
    """A set of axes: its title with the unit, and its lines."""

    title: str
    lines: Sequence[Line]


def draw_course(name: str, panels: Sequence[Panel], *, wide: bool, description: str) -> Markup:
    """The panels over one time axis; the first is the tallest."""
    heights = [HEIGHTS[min(i, 1)] + (30 if i == len(panels) - 1 else 0) for i in range(len(panels))]
    tips: list[str] = []
    with svg.panels(780 if wide else 320, heights) as (drawing, axes):
        for panel, one in zip(panels, axes, strict=True):
            one.set_title(panel.title, loc="left", color=svg.MUTED, fontsize=svg.FONT)
            one.margins(x=0.02, y=0.16)
            _scale(one, panel)
            for line in panel.lines:
                colour, dash = svg.series(line.colour), svg.DASHES[line.colour % len(svg.DASHES)]
                if line.tops:
                    one.fill_between(line.times_s, line.values, line.tops, color=colour, alpha=0.16, linewidth=0)
                one.plot(line.times_s, line.values, color=colour, linestyle=dash, linewidth=1.7)
                for x, y, tip in zip(line.times_s, line.values, line.tips, strict=True):
                    one.plot([x], [y], "o", ms=4.4, color=colour, mec=svg.SURFACE, mew=0.7, gid=svg.tip_id(len(tips)))
                    tips.append(tip)
        axes[-1].set_xlabel("seconds under load")
        return svg.inline(drawing, name, description, tips)


def _scale(axes: Axes, panel: Panel) -> None:
    lowest = min((v for line in panel.lines for v in line.values if v > 0), default=0.0)
    highest = max((v for line in panel.lines for v in (*line.values, *line.tops) if v == v), default=0.0)
    if lowest and highest > FAR * lowest:
        axes.set_yscale("log")
        svg.counted_axis(axes.yaxis, lowest, highest)
