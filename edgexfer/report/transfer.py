"""The section on transfer: where the pictures stand in the square of size against similarity, and what was advised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from edgexfer.report import svg
from edgexfer.report.models import Naming
from edgexfer.report.records import FoundRun
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import MISSING, percent, plain, shown
from edgexfer.words import significant

CORNERS = {
    ("few", "alike"): "retrain the output layer",
    ("few", "unlike"): "retrain the whole classifier",
    ("many", "alike"): "fine-tune the whole network",
    ("many", "unlike"): "train from scratch",
}
"""What the textbook's square says of each corner."""
_CAPTION = (
    "Right: more training pictures. Up: the frozen features tell the classes apart already, as the share of the way"
    " from guessing to certainty that a linear probe goes. The words in the corners are the textbook’s; what was"
    " advised, from measurements, stands in the table."
)


def transfer_square(runs: Sequence[FoundRun], naming: Naming) -> Figure | None:
    """A dot for each run that asked for advice, with what was measured; ``None`` where none did."""
    advised = [(run, _advice(run)) for run in runs if _advice(run)]
    if not advised:
        return None
    names = [naming.names[run.label] for run, _ in advised]
    words = ", ".join(f"{name}: {advice['strategy']}" for name, (_, advice) in zip(names, advised, strict=True))
    description = f"Data set size against similarity; advised were {words}"
    return Figure(
        "Which of the four ways to transfer",
        _CAPTION,
        _drawn("square", advised, naming, 780, 360, description),
        narrow=_drawn("square-narrow", advised, naming, 320, 300, description),
        table=_table(advised, names),
        keys=[Key(name, naming.colours[run.label]) for name, (run, _) in zip(names, advised, strict=True)],
    )


def _advice(run: FoundRun) -> Mapping[str, Any]:
    """The advice that a run keeps; empty where it has none, or not what the square needs."""
    found = run.run.recipe.get("advice")
    if not isinstance(found, Mapping) or not isinstance(found.get("strategy"), str):
        return {}
    least = {"images": 1, "many_from": 1, "alike": 0, "alike_from": 0}
    whole = all(isinstance(found.get(key), int | float) and found[key] >= low for key, low in least.items())
    return found if whole else {}


def _drawn(
    name: str,
    advised: Sequence[tuple[FoundRun, Mapping[str, Any]]],
    naming: Naming,
    width: float,
    height: float,
    description: str,
) -> Markup:
    with svg.figure(width, height) as (drawing, axes):
        axes.set_xscale("log")
        low = min(20, *(advice["images"] for _, advice in advised)) / 2
        high = max(50_000, *(advice["images"] for _, advice in advised)) * 2
        axes.set_xlim(low, high)
        axes.set_ylim(-0.04, 1.04)
        many_from, alike_from = advised[0][1]["many_from"], advised[0][1]["alike_from"]
        axes.axvline(many_from, color=svg.GRID, linewidth=1.2)
        axes.axhline(alike_from, color=svg.GRID, linewidth=1.2)
        for (many, alike), text in CORNERS.items():
            x = (low * many_from) ** 0.5 if many == "few" else (many_from * high) ** 0.5
            words = text.replace(" the ", "\nthe ").replace(" from ", "\nfrom ") if width < 400 else text
            y = 0.75 if alike == "alike" else 0.25
            axes.text(x, y, words, ha="center", va="center", color=svg.MUTED, fontsize=svg.FONT)
        for i, (run, advice) in enumerate(advised):
            axes.plot(
                [advice["images"]], [min(1.0, advice["alike"])], "o", ms=11, mec=svg.SURFACE, mew=1.5,
                color=svg.series(naming.colours[run.label]), gid=svg.tip_id(i),
            )  # fmt: skip
        svg.counts_axis(axes.xaxis, low, high)
        svg.percent_axis(axes.yaxis)
        axes.grid(False)
        axes.set_xlabel("training pictures (logarithmic)")
        axes.set_title("like the pictures of pretraining", loc="left", color=svg.MUTED, fontsize=svg.FONT)
        tips = [
            f"{naming.names[run.label]}: {one['images']:,} pictures, {one['alike']:.0%} alike; {one['strategy']}"
            for run, one in advised
        ]
        return svg.inline(drawing, name, description, tips)


def _table(advised: Sequence[tuple[FoundRun, Mapping[str, Any]]], names: Sequence[str]) -> Table:
    rows = []
    for name, (run, advice) in zip(names, advised, strict=True):
        cells: list[Any] = [advice["strategy"], advice.get("runner_up", MISSING), _done(run)]
        for key, write in (
            ("images", plain), ("images_per_class", plain), ("chance", percent), ("probe_top1", percent),
            ("knn_top1", percent), ("logme", significant), ("h_score", significant),
        ):  # fmt: skip
            cells.append(shown(advice.get(key), write, run.origin(f"/recipe/advice/{key}")))
        rows.append(Row(name, cells))
    heads = (
        "network", "advised", "runner-up", "done", "pictures", "a class", "guessing", "linear probe", "neighbours",
        "LogME", "H-score",
    )  # fmt: skip
    return Table("What was measured on frozen features", heads, rows, frozenset({1, 2, 3}))


def _done(run: FoundRun) -> Any:
    strategy = run.run.recipe.get("strategy")
    return strategy.get("name", MISSING) if isinstance(strategy, Mapping) else MISSING
