"""Rounds of a measurement: one row a configuration, a dot for each round on a common axis of differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgexfer.report import svg

ROW = 44
LEAST = 0.06


@dataclass(frozen=True)
class Strip:
    """One configuration.

    Attributes:
        name: Its label.
        apart: Each round's median over the median of all, less 1.
        tips: What each dot says on hover.
        half_width: Relative half-width of the interval of the median, or ``None``.
        is_steady: Whether it was found to hold still; drawn quieter where it was.
    """

    name: str
    apart: Sequence[float]
    tips: Sequence[str]
    half_width: float | None
    is_steady: bool


def draw_strips(name: str, strips: Sequence[Strip], *, limit: float, wide: bool, description: str) -> Markup:
    """Dots around 0; the shaded middle is where rounds count as agreeing (``limit`` either way)."""
    tips: list[str] = []
    reach = max([LEAST, *(abs(d) for s in strips for d in s.apart), *(s.half_width or 0 for s in strips)]) * 1.15
    with svg.figure(780 if wide else 320, 48 + ROW * len(strips)) as (drawing, axes):
        axes.grid(False)
        axes.grid(True, axis="x", color=svg.GRID, linewidth=0.8)
        axes.set_yticks([])
        axes.set_ylim(len(strips) - 0.1, -0.1)
        axes.set_xlim(-reach, reach)
        axes.axvspan(-limit / 2, limit / 2, color=svg.GRID, alpha=0.45, linewidth=0)
        axes.axvline(0, color=svg.MUTED, linewidth=1)
        for place, strip in enumerate(strips):
            colour = svg.series(0 if strip.is_steady else 1)
            if strip.half_width is not None:
                axes.plot([-strip.half_width, strip.half_width], [place + 0.62] * 2, color=colour, lw=5, alpha=0.25)
            for gap, tip in zip(strip.apart, strip.tips, strict=True):
                axes.plot(
                    [gap], [place + 0.62], "o" if strip.is_steady else "D", ms=7, color=colour, mec=svg.SURFACE,
                    mew=1.2, gid=svg.tip_id(len(tips)),
                )  # fmt: skip
                tips.append(tip)
            svg.label_row(axes, place + 0.2, svg.shortened(strip.name, 72 if wide else 40))
        svg.signed_percent_axis(axes.xaxis)
        axes.set_xlabel("difference from the median of all")
        return svg.inline(drawing, name, description, tips)
