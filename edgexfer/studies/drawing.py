"""Drawings that the studies share: lines with bands over seeds, one panel above the other or alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from edgexfer.report import svg
from edgexfer.report.bars import Bars, draw_bars
from edgexfer.report.tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TIPS = 40
WIDTHS = (780, 320)
"""Of a drawing for a screen and for a phone, in CSS pixels."""
Points = Sequence[float | None]


@dataclass(frozen=True)
class Band:
    """One line: the mean over seeds, and a band from the lowest to the highest.

    Attributes:
        name: What it is called.
        x: Where it was looked at.
        values: One row a seed, each as long as ``x``, or shorter where a training ended early; ``None`` is a gap, and
            what goes beyond ``x`` is left out.
        colour: Position in the page's colours.
        dotted: Whether its points are marked.
    """

    name: str
    x: Sequence[float]
    values: Sequence[Points]
    colour: int
    dotted: bool = False

    def rows(self) -> np.ndarray:
        """The values ``(seeds, len(x))``; what is missing is NaN."""
        table = np.full((len(self.values), len(self.x)), np.nan)
        for row, values in zip(table, self.values, strict=True):
            shared = values[: len(row)]
            row[: len(shared)] = [np.nan if value is None else value for value in shared]
        return table

    def means(self) -> list[float]:
        """Mean over the seeds at each place, NaN where none has a value."""
        rows = self.rows()
        known = ~np.isnan(rows)
        count = known.sum(axis=0)
        sums = np.where(known, rows, 0).sum(axis=0)
        return [float(s / n) if n else math.nan for s, n in zip(sums, count, strict=True)]


@dataclass(frozen=True)
class Panel:
    """A set of axes.

    Attributes:
        title: What its vertical axis shows, with the unit.
        bands: The lines.
        fraction: Whether the vertical axis is in percent.
    """

    title: str
    bands: Sequence[Band]
    fraction: bool = False


def draw_panels(
    name: str,
    panels: Sequence[Panel],
    *,
    x: str,
    description: str,
    log_from: float | None = None,
    ticks: Sequence[tuple[float, str]] = (),
    height: float | None = None,
) -> tuple[Markup, Markup]:
    """Panels over one horizontal axis, for a screen and for a phone.

    Args:
        name: Of the figure; unique on the page.
        panels: From top to bottom.
        x: What the horizontal axis shows.
        description: What a screen reader says.
        log_from: Value from which the horizontal axis is logarithmic, if anywhere.
        ticks: Places and words of the horizontal axis, where numbers would not do.
        height: Of each panel, in CSS pixels; by their number if ``None``.
    """
    tall = height or (250 if len(panels) == 1 else 170)
    heights = [tall + (30 if i == len(panels) - 1 else 0) for i in range(len(panels))]
    drawn, words = [], dict(ticks)
    for width in WIDTHS:
        tips: list[str] = []
        with svg.panels(width, heights) as (drawing, axes):
            for panel, one in zip(panels, axes, strict=True):
                _fill(one, panel, x, words, tips)
            _horizontal(axes[-1], [b for p in panels for b in p.bands], log_from, ticks)
            axes[-1].set_xlabel(x)
            drawn.append(svg.inline(drawing, f"{name}-{width}", description, tips))
    wide, narrow = drawn
    return wide, narrow


def _fill(axes: Axes, panel: Panel, x: str, words: Mapping[float, str], tips: list[str]) -> None:
    axes.set_title(panel.title, loc="left", color=svg.MUTED, fontsize=svg.FONT)
    for band in panel.bands:
        _draw(axes, band, panel, x, words, tips)
    axes.margins(x=0.02, y=0.08)  # room for markers at the border
    if panel.fraction:
        axes.set_ylim(top=min(1.004, axes.get_ylim()[1]))
        svg.percent_axis(axes.yaxis)


def _draw(axes: Axes, band: Band, panel: Panel, x: str, words: Mapping[float, str], tips: list[str]) -> None:
    colour, dash = svg.series(band.colour), svg.DASHES[band.colour % len(svg.DASHES)]
    rows, means = band.rows(), band.means()
    if len(rows) > 1:
        filled = np.where(np.isnan(rows), np.array(means), rows)
        axes.fill_between(band.x, filled.min(axis=0), filled.max(axis=0), color=colour, alpha=0.16, linewidth=0)
    axes.plot(band.x, means, color=colour, linestyle=dash, linewidth=1.8)
    for at, value in list(zip(band.x, means, strict=True))[:MOST_TIPS]:
        if math.isnan(value):
            continue
        size = 5.0 if band.dotted else 3.0
        axes.plot([at], [value], "o", ms=size, color=colour, mec=svg.SURFACE, mew=0.7, gid=svg.tip_id(len(tips)))
        tips.append(f"{band.name}: {written(value, panel.fraction)} at {words.get(at, f'{at:g}')} ({x})")


def _horizontal(axes: Axes, bands: Sequence[Band], log_from: float | None, ticks: Sequence[tuple[float, str]]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if ticks:
        axes.xaxis.set_major_locator(FixedLocator([place for place, _ in ticks]))
        words = dict(ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.get(value, "")))
        return
    if log_from is None:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return
    high = max(max(band.x) for band in bands)
    axes.set_xscale("symlog", linthresh=log_from, linscale=0.4)
    axes.set_xlim(-0.03 * log_from, 1.06 * high)  # the margin that was set is no longer one on this scale
    marks = [0.0, *(mark for mark in svg.log_ticks(log_from, max(high, 2 * log_from)) if mark <= high)]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def draw_shares(
    name: str, rows: Sequence[Bars], *, description: str, axis: str = "test accuracy, %"
) -> tuple[Markup, Markup]:
    """Bars of percentages, for a screen and for a phone; each row has as many as the first.

    Args:
        name: Of the figure; unique on the page.
        rows: From top to bottom, their values in percent.
        description: What a screen reader says.
        axis: What the horizontal axis shows.
    """
    colours = range(len(rows[0].values))
    wide, narrow = (
        draw_bars(
            f"{name}-{width}", rows, colours, axis=axis, write=lambda v: f"{v:.1f}", width=width,
            description=description, most=100,
        )
        for width in WIDTHS
    )  # fmt: skip
    return wide, narrow


def written(value: float, fraction: bool = False) -> str:
    """A value for a person; a gap as a dash."""
    if math.isnan(value):
        return "–"
    return f"{value:.1%}" if fraction else f"{value:.3g}"


def mean_table(caption: str, x: str, bands: Sequence[Band], *, fraction: bool = False) -> Table:
    """The means of lines that were looked at in the same places, as a table."""
    columns = [band.means() for band in bands]
    rows = [Row(f"{at:,g}", [written(column[i], fraction) for column in columns]) for i, at in enumerate(bands[0].x)]
    return Table(caption, (x, *(band.name for band in bands)), rows)
