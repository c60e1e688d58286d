"""Matplotlib's drawings as SVG that lives inside the page: text stays text, colours follow the page's theme.

Figures are drawn with stand-in colours, one for each role; ``inline`` puts the page's CSS variables in their place, so
that one drawing serves light, dark and print. Every ``id`` gets the figure's name in front, since a page has only one
name space. Points named with ``set_gid(tip_id(n))`` get a ``<title>``, which browsers show on hover.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK = "#010203"
MUTED = "#020304"
GRID = "#030405"
SURFACE = "#040506"
ACCENT = "#050607"
SERIES = tuple(f"#0a0b{i:02x}" for i in range(1, 9))
Dash = tuple[int, tuple[float, ...]]
DASHES: tuple[Dash | str, ...] = (
    "solid",
    (0, (5, 1.6)),
    (0, (1.4, 1.4)),
    (0, (6, 1.5, 1.4, 1.5)),
    (0, (9, 2)),
    (0, (3, 1)),
    (0, (1, 2.4)),
    (0, (8, 1.5, 3, 1.5)),
)
FONT = 9.5

_FINE = (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)
_FINER = tuple(1 + i / 20 for i in range(180))

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--rule)",
    SURFACE: "var(--card)",
    ACCENT: "var(--accent)",
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES)},
}
_STYLE = re.compile(r'style="[^"]*"')
_ID = re.compile(r'(\bid="|href="#|url\(#)')
_TIP = re.compile(r'(<g id="[^"]*tip-(\d+)">)')
_TAG = re.compile(r"<[^<>]+>")
_NEEDLESS = (
    (re.compile(r' transform="rotate\(-?0 [^"]*"'), ""),
    (re.compile(r"font-family: [^;\"]*;?\s*"), ""),  # the page has fonts of its own
    (re.compile(r"(\.\d\d)\d+"), r"\1"),  # a hundredth of a pixel
)
_UNSEEN = re.compile(r'<path d="[^"]*" style="fill: none; opacity: 0"/>|<metadata>.*?</metadata>', re.DOTALL)
_WITHOUT_ID = re.compile(r'<g id="([^"]*)">')
_EMPTY = re.compile(r"<g>\s*</g>|<g/>|<g id=\"(?![^\"]*tip-)[^\"]*\"/>")


def series(position: int) -> str:
    """The stand-in colour of a series."""
    return SERIES[position % len(SERIES)]


def tip_id(number: int) -> str:
    """The ``gid`` of the point that shows tip ``number``."""
    return f"tip-{number}"


@contextlib.contextmanager
def figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of ``width`` by ``height`` CSS pixels with one plain set of axes.

    Nothing in a label is read as mathematics: class names may hold dollar signs.
    """
    with panels(width, [height]) as (drawing, axes):
        yield drawing, axes[0]


@contextlib.contextmanager
def panels(width: float, heights: Sequence[float]) -> Iterator[tuple[Figure, list[Axes]]]:
    """Plain sets of axes of these heights, one above the other, that share their horizontal axis."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "edgexfer",
        "text.parse_math": False,
        "text.usetex": False,
        "font.size": FONT,
        "axes.unicode_minus": True,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has fonts of its own
        drawing = Figure(figsize=(width / 72, sum(heights) / 72), layout="constrained")
        FigureCanvasSVG(drawing)
        drawing.patch.set_alpha(0)
        grid: Any = drawing.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))
        axes = list(grid[:, 0])
        for one in axes:
            _plain(one)
        yield drawing, axes


def _plain(axes: Axes) -> None:
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(True, axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, which="both", length=0, labelsize=FONT)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)


def shortened(text: str, most: int) -> str:
    """``text`` on one line of at most ``most`` characters, its middle left out; the whole stands in tips and tables."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    tail = most // 2
    return f"{line[: most - tail - 1]}…{line[-tail:]}"


def log_ticks(low: float, high: float) -> list[float]:
    """Three to seven round values between ``low`` and ``high`` (both above 0) for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), _FINE, _FINER):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 4 or (len(inside) == 3 and steps is _FINE):
            return inside[:: math.ceil(len(inside) / 7)]
    return [low, math.sqrt(low * high), high]


def percent_axis(axis: Axis) -> None:
    """Round percentages on an axis of shares, from 0 to 100 only, with as many decimals as their step needs."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(*axis.get_view_interval())
    axis.set_major_locator(FixedLocator([float(t) for t in ticks if -1e-9 <= t <= 1 + 1e-9]))
    step = abs(float(ticks[1] - ticks[0])) * 100 if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.{decimals}f}%"))


def signed_percent_axis(axis: Axis) -> None:
    """Round percentages with their sign, as many decimals as their step needs."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    low, high = axis.get_view_interval()
    ticks = [float(t) for t in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= t <= high]
    axis.set_major_locator(FixedLocator(ticks))
    step = abs(ticks[1] - ticks[0]) * 100 if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    axis.set_major_formatter(FuncFormatter(lambda v, _: "0%" if abs(v) < 1e-12 else f"{v * 100:+.{decimals}f}%"))


def whole_axis(axis: Axis) -> None:
    """A few whole numbers, written out."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(2, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))


def counts_axis(axis: Axis, low: float, high: float) -> None:
    """A logarithmic axis of counts, written out."""
    _logarithmic(axis, low, high, lambda count: f"{count:,.0f}")


def counted_axis(axis: Axis, low: float, high: float) -> None:
    """A logarithmic axis of plain numbers, with three significant digits."""
    _logarithmic(axis, low, high, lambda value: f"{value:.3g}")


def milliseconds_axis(axis: Axis, low: float, high: float) -> None:
    """A logarithmic axis of seconds, written in milliseconds."""
    _logarithmic(axis, low, high, lambda seconds: f"{float(f'{seconds * 1e3:.3g}'):g}")


def _logarithmic(axis: Axis, low: float, high: float, write: Callable[[float], str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def label_row(axes: Axes, y: float, text: str, *, right: bool = False) -> None:
    """Words at the left end of a row, or more quietly at its right end, that no layout makes room for."""
    label = axes.annotate(
        text, (1.0 if right else 0.0, y), xycoords=("axes fraction", "data"), fontsize=FONT, va="center",
        color=MUTED if right else INK, ha="right" if right else "left",
    )  # fmt: skip
    label.set_in_layout(False)


def inline(drawing: Figure, name: str, description: str, tips: Sequence[str] = ()) -> Markup:
    """The drawing as an ``<svg>`` element.

    Args:
        drawing: Drawn inside ``figure``.
        name: Put in front of every id; unique on the page.
        description: What a screen reader says instead of the picture.
        tips: Text of tip 0, 1, ...
    """
    stream = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    drawing.savefig(stream, format="svg", metadata=nothing, transparent=True)
    text = stream.getvalue()
    text = _lean(text[text.index("<svg") :].strip())
    text = _STYLE.sub(lambda match: _themed(match.group()), text)
    text = _ID.sub(rf"\g<1>{name}-", text)
    text = _TIP.sub(lambda match: f"{match.group(1)}<title>{escape(tips[int(match.group(2))])}</title>", text)
    head_end = text.index(">")
    box = re.search(r'viewBox="[^"]+"', text[:head_end])
    head = f'<svg role="img" aria-label="{escape(description)}" class="plot" {box.group() if box else ""}>'
    return Markup(head + text[head_end + 1 :])


def _lean(text: str) -> str:
    """The drawing without what nobody sees: a page of many runs holds hundreds of them."""
    text = _TAG.sub(lambda match: _lean_tag(match.group()), _UNSEEN.sub("", text))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = _WITHOUT_ID.sub(lambda m: m.group() if m.group(1) in used or "tip-" in m.group(1) else "<g>", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    while (shorter := _EMPTY.sub("", text)) != text:
        text = shorter
    return text


def _lean_tag(tag: str) -> str:
    for pattern, instead in _NEEDLESS:
        tag = pattern.sub(instead, tag)
    return tag


def _themed(style: str) -> str:
    """One ``style`` attribute with the page's colours."""
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, variable)
    return style.replace("font-weight: 700", "font-weight: 650").replace("font-weight: bold", "font-weight: 650")
