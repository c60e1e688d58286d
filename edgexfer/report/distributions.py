"""Latency distributions: one row a configuration, a histogram on a common logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from edgexfer.report import svg
from edgexfer.report.values import duration
from edgexfer.results.statistics import percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 56
ROW = 54
EXTREME = 99.5


@dataclass(frozen=True)
class Row:
    """The measured times of one configuration.

    Attributes:
        name: Its label.
        latency_s: Every value, in seconds.
        colour: Position in the page's colours.
    """

    name: str
    latency_s: Sequence[float]
    colour: int


def draw_distributions(name: str, rows: Sequence[Row], *, wide: bool, description: str) -> Markup:
    """Histograms with the median marked; the slowest value of each row is a small stroke at its right."""
    width = 780 if wide else 320
    with svg.figure(width, 52 + ROW * len(rows)) as (drawing, axes):
        axes.set_xscale("log")
        axes.grid(False)
        axes.grid(True, axis="x", color=svg.GRID, linewidth=0.8)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.02, -0.12)
        tips = []
        for place, row in enumerate(rows):
            values = np.asarray(row.latency_s, dtype=np.float64).clip(min=1e-9)
            _draw_row(axes, place, row, values, svg.tip_id(place))
            median = duration(float(np.median(values)))
            svg.label_row(axes, place + 0.14, svg.shortened(row.name, 72 if wide else 34))
            svg.label_row(axes, place + 0.14, f"median {median}", right=True)
            tips.append(
                f"{row.name}: median {median}, from {duration(float(values.min()))} to {duration(float(values.max()))},"
                f" {len(values):,} inferences"
            )
        svg.milliseconds_axis(axes.xaxis, *axes.get_xlim())
        axes.set_xlabel("latency of one picture, ms (logarithmic)")
        return svg.inline(drawing, name, description, tips)


def _draw_row(axes: Axes, place: int, row: Row, values: NDArray[np.float64], gid: str) -> None:
    colour = svg.series(row.colour)
    low, high = float(values.min()), float(np.percentile(values, EXTREME))
    edges = np.geomspace(low, max(high, low * 1.002), min(BINS, max(6, len(values) // 3)) + 1)
    counts, _ = np.histogram(values[values <= edges[-1]], edges)
    heights = counts / max(counts.max(), 1) * 0.5
    base = place + 0.86
    xs = np.repeat(edges, 2)
    ys = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
    axes.fill(xs, base - ys, color=colour, alpha=0.32, linewidth=0, gid=gid)
    axes.plot(xs, base - ys, color=colour, linewidth=1.0)
    axes.plot([float(values.max())] * 2, [base, base - 0.16], color=colour, linewidth=1.2)
    axes.plot([low, float(values.max())], [base, base], color=colour, linewidth=0.8)
    median = percentile(row.latency_s, 50) or low
    axes.plot([median] * 2, [base + 0.03, base - 0.56], color=svg.INK, linewidth=1.6)
