"""How the study of the strategy square is drawn and told."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from markupsafe import Markup

from edgexfer.report import svg
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import percent, points
from edgexfer.studies.values import Numbers, StudyResult, Telling
from edgexfer.studies.words import claim_words, listed, percent_of
from edgexfer.transfer import STRATEGIES
from edgexfer.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LECTURE = {
    "few, alike": "head",
    "many, alike": "full",
    "few, unlike": "classifier",
    "many, unlike": "scratch",
}
CORNERS = tuple(LECTURE)


def accuracies(numbers: Numbers, corner: str) -> dict[str, float]:
    """Test accuracy by strategy; a strategy that did not fit the network counts as 0."""
    found = numbers["corners"][corner]["strategies"]
    return {name: float(found[name].get("test_top1", 0.0)) for name in STRATEGIES}


def gain(numbers: Numbers, corner: str) -> float:
    """What the best transfer gains over random weights."""
    scores = accuracies(numbers, corner)
    return max(value for name, value in scores.items() if name != "scratch") - scores["scratch"]


def lost_by_advice(numbers: Numbers) -> float:
    """Accuracy of the best strategy less that of the advised one, mean over the corners."""
    losses = []
    for corner in CORNERS:
        scores = accuracies(numbers, corner)
        losses.append(max(scores.values()) - scores[numbers["corners"][corner]["advised"]])
    return statistics.fmean(losses)


def tell(result: StudyResult) -> Telling:
    """The square, and its values."""
    return Telling([_square(result)], _seen(result), _LITERATURE, _DIFFERS, [_table(result)])


def means(result: StudyResult, corner: str) -> dict[str, float]:
    """Mean test accuracy by strategy."""
    scores = [accuracies(one, corner) for one in result.numbers]
    return {name: statistics.fmean(one[name] for one in scores) for name in STRATEGIES}


def advised(result: StudyResult, corner: str) -> str:
    """What was advised, most often over the seeds."""
    found = Counter(one["corners"][corner]["advised"] for one in result.numbers)
    return str(found.most_common(1)[0][0])


def _square(result: StudyResult) -> Figure:
    title = "The square of size and similarity: test accuracy by strategy"
    first = result.numbers[0]
    caption = (
        f"Pretrained on {first['alike_words']} (alike) and on {first['unlike_words']} (unlike). Means over"
        f" {counted(len(result.measured), 'seed')}; bold is best; a ring marks what"
        " edgexfer advised (most often over the seeds), a triangle what the lecture's square says. Bars start at 0."
    )
    wide, narrow = (draw_square(f"square-{width}", result, width, title) for width in (780, 320))
    return Figure(title, caption, wide, narrow, None, [Key(name, i) for i, name in enumerate(STRATEGIES)])


def draw_square(name: str, result: StudyResult, width: float, description: str) -> Markup:
    """Four corners, each with a bar for each strategy; beside each other on a screen, in one column on a phone."""
    columns = 2 if width > 400 else 1
    rows = len(CORNERS) // columns
    tips: list[str] = []
    with svg.figure(width, 165 * rows) as (drawing, axes):
        axes.set_xlim(0, columns)
        axes.set_ylim(rows * (len(STRATEGIES) + 2), 0)
        axes.axis("off")
        for place, corner in enumerate(CORNERS):
            left, top = place % columns, place // columns * (len(STRATEGIES) + 2)
            images = [one["corners"][corner]["train_images"] for one in result.numbers]
            size = f"{images[0]:,}" if len(set(images)) == 1 else f"{min(images):,} to {max(images):,}"
            axes.text(left, top + 0.6, f"{corner} ({size} pictures)", color=svg.INK, fontsize=svg.FONT, weight="bold")
            scores = means(result, corner)
            for i, strategy in enumerate(STRATEGIES):
                _bar(axes, left, top + 1.5 + i, scores, strategy, i, tips)
                if strategy == advised(result, corner):
                    axes.plot([left + 0.335], [top + 1.5 + i], "o", ms=6, mfc="none", mec=svg.ACCENT, mew=1.5)
                if strategy == LECTURE[corner]:
                    axes.plot([left + 0.30], [top + 1.5 + i], "^", ms=5.5, color=svg.MUTED)
        return svg.inline(drawing, name, description, tips)


def _bar(
    axes: Axes, left: float, middle: float, scores: Mapping[str, float], strategy: str, colour: int, tips: list[str]
) -> None:
    """One strategy's name, bar and value."""
    value, is_best = scores[strategy], scores[strategy] == max(scores.values())
    weight = "bold" if is_best else "normal"
    axes.text(left + 0.01, middle, strategy, va="center", color=svg.INK, fontsize=svg.FONT, weight=weight)
    bar = axes.barh([middle], [0.45 * value], left=left + 0.36, height=0.62, color=svg.series(colour))[0]
    bar.set_gid(svg.tip_id(len(tips)))
    tips.append(f"{strategy}: {percent(value)}")
    axes.text(
        left + 0.37 + 0.45 * value, middle, percent(value), va="center", color=svg.INK if is_best else svg.MUTED,
        fontsize=svg.FONT, weight=weight,
    )  # fmt: skip


def _table(result: StudyResult) -> Table:
    rows = []
    for corner in CORNERS:
        found = [one["corners"][corner] for one in result.numbers]
        scores = [accuracies(one, corner) for one in result.numbers]
        told = Counter(one["advised"] for one in found)
        rows.append(
            Row(corner, [
                *(percent_of([one[name] for one in scores]) for name in STRATEGIES),
                percent_of([one["probe_top1"] for one in found]),
                listed([f"{name} ({count})" if len(told) > 1 else name for name, count in told.items()]),
                LECTURE[corner],
            ])
        )  # fmt: skip
    heads = ("corner", *STRATEGIES, "linear probe", "advised", "lecture")
    return Table("Test accuracy in the four corners", heads, rows, frozenset({6, 7}))


def _seen(result: StudyResult) -> str:
    parts = []
    for corner, claim in zip(CORNERS, result.claims, strict=False):
        scores = means(result, corner)
        best = [name for name, value in scores.items() if value == max(scores.values())]
        parts.append(
            f"With {_corner_words(corner)}, {listed(best)} came out best on average ({percent(max(scores.values()))}),"
            f" where the lecture's {LECTURE[corner]} had {percent(scores[LECTURE[corner]])}, {claim_words(claim)}."
        )
    most, lost = result.claims[len(CORNERS) :]
    gains = {corner: [gain(one, corner) for one in result.numbers] for corner in CORNERS}
    many, few = (points(statistics.fmean(gains[corner])) for corner in ("many, alike", "few, alike"))
    return (
        f"{' '.join(parts)} Over random weights the best transfer gained {many} points with many alike pictures and"
        f" {few} with few, {claim_words(most)}. Following the advice cost {lost.measured} of accuracy against the best"
        f" strategy of each corner, {claim_words(lost)}."
    )


def _corner_words(corner: str) -> str:
    size, similarity = corner.split(", ")
    return f"{size} {similarity} pictures"


_LITERATURE = (
    "The lecture's square: few and similar pictures, retrain the output layer; few and not similar, keep the feature"
    " extractor and retrain the classifier above it; many and not similar, train from scratch; many and similar,"
    " fine-tune the whole pretrained network, where transfer is said to gain most. Yosinski et al. (NeurIPS 2014) found"
    " pretrained weights better than random ones even between unlike tasks, and Kornblith et al. (CVPR 2019) that"
    " fine-tuning gains least where there are many pictures."
)
_DIFFERS = (
    "The network has six convolutions and learned its features from some hundreds or two thousand pictures, not from"
    " ImageNet. Few is five pictures a class, many is what the data has, 2,000 at most, which is little beside the"
    " lecture's many. Fine-tuning fits the head first, slows early layers and keeps BatchNorm's statistics where"
    " pictures are few, so that it loses less on few pictures than plain fine-tuning does. Advice comes from a linear"
    " probe and not from the corner's name, and it was fitted to other cases (benchmarks/advice.py)."
)
