"""Accuracy against latency, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from edgexfer.report import svg
from edgexfer.report.values import duration, percent
from edgexfer.results.pareto import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 14
SHORTEST_S = 1e-9
"""A logarithmic axis has no place for 0; shorter times stand where this one does."""
_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """One measured configuration.

    Attributes:
        name: Its label.
        p50_s: Median latency in seconds.
        top1: Accuracy, 0 to 1.
        colour: Position in the page's colours.
        is_int8: Drawn as a diamond instead of a disc.
    """

    name: str
    p50_s: float
    top1: float
    colour: int
    is_int8: bool = False

    @property
    def place_s(self) -> float:
        """Where it stands on the axis of seconds."""
        return max(self.p50_s, SHORTEST_S)


def draw_scatter(name: str, points: Sequence[Point], *, wide: bool, description: str) -> Markup:
    """Points at (median latency, accuracy), the front as a line of steps; the time axis is logarithmic."""
    width, height = (780, 340) if wide else (320, 300)
    with svg.figure(width, height) as (drawing, axes):
        fill_scatter(drawing, axes, points, wide=wide)
        tips = [f"{p.name}: {duration(p.p50_s)}, {percent(p.top1)}" for p in points]
        return svg.inline(drawing, name, description, tips)


def fill_scatter(
    drawing: Figure, axes: Axes, points: Sequence[Point], *, wide: bool, statistic: str = "median"
) -> None:
    """Draws ``points`` and their front on empty axes."""
    front = pareto_front([(p.p50_s, -p.top1) for p in points])
    axes.set_xscale("log")
    axes.grid(True, axis="x", color=svg.GRID, linewidth=0.8)
    _limits(axes, points)
    corners = _draw_front(axes, [points[i] for i in front])
    for i, point in enumerate(points):
        axes.plot(
            [point.place_s], [point.top1], "D" if point.is_int8 else "o", ms=8 if point.is_int8 else 9,
            color=svg.series(point.colour), mec=svg.SURFACE, mew=1.5, gid=svg.tip_id(i),
        )  # fmt: skip
    svg.milliseconds_axis(axes.xaxis, *axes.get_xlim())
    svg.percent_axis(axes.yaxis)
    axes.set_xlabel(f"{statistic} latency of one picture, ms (logarithmic)")
    axes.set_title("top-1 accuracy", loc="left", color=svg.MUTED, fontsize=svg.FONT)
    labelled = range(len(points)) if len(points) <= MOST_LABELS else front
    drawing.draw_without_rendering()
    names = [svg.shortened(point.name, 44 if wide else 28) for point in points]
    _place_labels(axes, points, names, list(labelled), set(front), corners)


def _limits(axes: Axes, points: Sequence[Point]) -> None:
    low, high = min(p.place_s for p in points), max(p.place_s for p in points)
    spread = max(high / low, 1.6)
    axes.set_xlim(low / spread**0.22, high * spread**0.3)
    worst, best = min(p.top1 for p in points), max(p.top1 for p in points)
    room = max(best - worst, 0.01) * 0.3
    axes.set_ylim(max(worst - room, -room / 4), best + room)  # the ticks stop at 0 and 1; a marker has room beyond


def _draw_front(axes: Axes, front: Sequence[Point]) -> list[tuple[float, float]]:
    """Steps from each point of the front to the next better one; returns the corners."""
    low, high = axes.get_xlim()
    xs, ys = [front[0].place_s], [axes.get_ylim()[0]]
    for before, after in pairwise(front):
        xs += [before.place_s, after.place_s]
        ys += [before.top1, before.top1]
    xs += [front[-1].place_s, high]
    ys += [front[-1].top1, front[-1].top1]
    axes.plot(xs, ys, color=svg.ACCENT, linewidth=1.3, linestyle=(0, (4, 2.5)), alpha=0.75, zorder=1)
    axes.set_xlim(low, high)
    return list(zip(xs, ys, strict=True))


def _place_labels(
    axes: Axes,
    points: Sequence[Point],
    names: Sequence[str],
    labelled: list[int],
    bold: set[int],
    corners: Sequence[tuple[float, float]],
) -> None:
    """Puts each label on the side of its point where it covers least of what is there already."""
    places = [axes.transData.transform((p.place_s, p.top1)) for p in points]
    frame = axes.get_window_extent()
    bounds = (frame.x0, frame.y0, frame.x1, frame.y1)
    taken: list[_Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    steps = [axes.transData.transform(corner) for corner in corners]
    taken += [
        (min(a[0], b[0]) - 1.5, min(a[1], b[1]) - 1.5, max(a[0], b[0]) + 1.5, max(a[1], b[1]) + 1.5)
        for a, b in pairwise(steps)
    ]
    for i in sorted(labelled, key=lambda k: k not in bold):  # the front picks its places first
        x, y = places[i]
        wide, tall = len(names[i]) * svg.FONT * 0.53, svg.FONT * 1.15
        choices = [
            (x + 9, y, "left"), (x - 9, y, "right"), (x, y + 13, "center"), (x, y - 13, "center"),
            (x + 6, y + 14, "left"), (x + 6, y - 14, "left"), (x - 6, y + 14, "right"), (x - 6, y - 14, "right"),
            (x + 6, y + 26, "left"), (x + 6, y - 26, "left"), (x - 6, y + 26, "right"), (x - 6, y - 26, "right"),
        ]  # fmt: skip
        boxes = [_box(cx, cy, side, wide, tall) for cx, cy, side in choices]
        costs = [sum(_overlap(box, other) for other in taken) + 4 * _outside(box, bounds) for box in boxes]
        best = min(range(len(choices)), key=lambda k: (round(costs[k]), k))
        cx, cy, side = choices[best]
        label = axes.annotate(
            names[i], _data_xy(axes, cx, cy), ha=side, va="center", fontsize=svg.FONT,
            color=svg.INK if i in bold else svg.MUTED, fontweight="bold" if i in bold else "normal",
        )  # fmt: skip
        label.set_in_layout(False)
        taken.append(boxes[best])


def _data_xy(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """A place on the canvas in data coordinates."""
    found = axes.transData.inverted().transform((x, y))
    return float(found[0]), float(found[1])


def _box(x: float, y: float, side: str, wide: float, tall: float) -> _Box:
    left = x if side == "left" else x - wide if side == "right" else x - wide / 2
    return (left, y - tall / 2, left + wide, y + tall / 2)


def _overlap(a: _Box, b: _Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: _Box, bounds: _Box) -> float:
    inside = _overlap(box, bounds)
    return (box[2] - box[0]) * (box[3] - box[1]) - inside
