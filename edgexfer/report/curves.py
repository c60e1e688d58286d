"""Learning curves: what the epochs brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgexfer.report import svg


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Attributes:
        name: What it is called.
        epochs: From 1.
        values: One for each epoch; a gap is NaN.
        colour: Position in the page's colours.
        marked: The epoch whose weights were kept, or ``None``.
    """

    name: str
    epochs: Sequence[float]
    values: Sequence[float]
    colour: int
    marked: float | None = None


def draw_curves(name: str, curves: Sequence[Curve], *, fraction: bool, description: str) -> Markup:
    """Lines over epochs; ``fraction`` writes the axis in percent."""
    from matplotlib.ticker import MaxNLocator

    with svg.figure(350, 225) as (drawing, axes):
        tips: list[str] = []
        for curve in curves:
            colour = svg.series(curve.colour)
            dash = svg.DASHES[curve.colour % len(svg.DASHES)]
            marker = "o" if len(curve.epochs) == 1 else None
            axes.plot(curve.epochs, curve.values, color=colour, linestyle=dash, linewidth=1.8, marker=marker, ms=4)
            kept = [(e, v) for e, v in zip(curve.epochs, curve.values, strict=True) if e == curve.marked]
            for epoch, value in kept:
                text = f"{value:.1%}" if fraction else f"{value:.4g}"
                axes.plot(
                    [epoch], [value], "o", ms=6, color=colour, mec=svg.SURFACE, mew=1.4, gid=svg.tip_id(len(tips))
                )
                tips.append(f"{curve.name}: epoch {epoch:g} was kept, {text}")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        axes.margins(x=0.03, y=0.08)
        if fraction:
            axes.set_ylim(top=min(1.004, axes.get_ylim()[1]))
            svg.percent_axis(axes.yaxis)
        return svg.inline(drawing, name, description, tips)
