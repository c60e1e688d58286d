"""The picture of a choice as a file of its own: accuracy against latency, the front, the budget, the chosen one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexfer.errors import FormatError
from edgexfer.files import whole_file
from edgexfer.report import svg
from edgexfer.report.scatter import Point, fill_scatter
from edgexfer.report.values import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = (".png", ".svg")
WIDTH, HEIGHT = 780, 400
_COLOURS = {
    svg.INK: "#1b1f24",
    svg.MUTED: "#59636e",
    svg.GRID: "#d8dee4",
    svg.SURFACE: "#ffffff",
    svg.ACCENT: "#b3480e",
    **dict(
        zip(
            svg.SERIES,
            ("#1f6feb", "#bf3989", "#1a7f37", "#9a6700", "#8250df", "#0b7285", "#cf222e", "#57606a"),
            strict=True,
        )
    ),
}


def check_kind(path: Path) -> None:
    """Refuses a name that is no picture's.

    Raises:
        FormatError: It ends in neither ``.png`` nor ``.svg``.
    """
    if path.suffix.casefold() not in KINDS:
        raise FormatError(f"{str(path)!r} is no name of a picture; use one that ends in {' or '.join(KINDS)}")


def write_front(
    path: Path, points: Sequence[Point], *, title: str, statistic: str, budget_s: float | None, chosen: int | None
) -> None:
    """Draws a choice.

    Args:
        path: A ``.png`` or ``.svg`` file.
        points: Everything that there was to choose from.
        title: Of the picture.
        statistic: Which latency it is.
        budget_s: The latency that was allowed; ``None`` for any.
        chosen: Position of the chosen one in ``points``; ``None`` where nothing fits.

    Raises:
        FormatError: ``path`` is named like neither.
    """
    check_kind(path)
    with svg.figure(WIDTH, HEIGHT) as (drawing, axes):
        fill_scatter(drawing, axes, points, wide=True, statistic=statistic)
        if budget_s is not None:
            _draw_budget(axes, budget_s)
        if chosen is not None:
            ring = points[chosen]
            axes.plot([ring.place_s], [ring.top1], "o", ms=17, mfc="none", mec=svg.ACCENT, mew=1.8, zorder=1)
        drawing.suptitle(title, x=0.01, ha="left", fontsize=svg.FONT + 2, color=svg.INK)
        _colour(drawing)
        _save(drawing, path)


def _draw_budget(axes: Axes, budget_s: float) -> None:
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, budget_s / 1.2), max(high, budget_s * 1.2))
    axes.axvline(budget_s, color=svg.ACCENT, linewidth=1.4)
    svg.milliseconds_axis(axes.xaxis, *axes.get_xlim())
    axes.annotate(
        f"budget {duration(budget_s)}", (budget_s, 0.02), xycoords=axes.get_xaxis_transform(), xytext=(5, 0),
        textcoords="offset points", color=svg.ACCENT, fontsize=svg.FONT,
    )  # fmt: skip


def _colour(drawing: Figure) -> None:
    """Real colours in place of the roles that the page fills in."""
    from matplotlib.colors import to_hex

    drawing.patch.set_alpha(1)
    drawing.patch.set_facecolor(_COLOURS[svg.SURFACE])
    for artist in drawing.findobj():
        for name in ("color", "markerfacecolor", "markeredgecolor", "edgecolor"):
            get: Any = getattr(artist, f"get_{name}", None)
            value = get() if get is not None else None
            if isinstance(value, str | tuple) and value not in ("none", "auto") and to_hex(value) in _COLOURS:
                getattr(artist, f"set_{name}")(_COLOURS[to_hex(value)])


def _save(drawing: Figure, path: Path) -> None:
    kind = path.suffix.casefold().removeprefix(".")
    nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with whole_file(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        drawing.savefig(part, format=kind, dpi=144, metadata=nothing)
