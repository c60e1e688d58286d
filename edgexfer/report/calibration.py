"""How far a network's probabilities can be trusted: reliability diagram and expected calibration error.

ECE = sum over the intervals of ``(pictures in it / N) * |accuracy in it - mean probability in it|``, pictures sorted
into 15 equal intervals of their largest probability, open below and closed above (Guo, Pleiss, Sun and Weinberger, "On
Calibration of Modern Neural Networks", ICML 2017, equation 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from edgexfer.report import answers as judged
from edgexfer.report.records import Predictions
from edgexfer.report.reliability import BEYOND, RIGHT, UNKEPT, Interval, draw_reliability
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import MISSING, percent, plain, points, shown

BINS = 15
HEADS = ("probability given", "pictures", "mean probability", "right", "right − probability")
NEAR = 0.02
"""Mean probability and accuracy that are no further apart count as level."""


def intervals(predictions: Predictions) -> list[Interval]:
    """All ``BINS`` intervals, also the empty ones."""
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.answers == predictions.labels
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    found = []
    for i in range(BINS):
        mine = place == i
        count = int(mine.sum())
        mean, share = (float(confidence[mine].mean()), float(right[mine].mean())) if count else (float("nan"),) * 2
        found.append(Interval(i / BINS, (i + 1) / BINS, count, mean, share))
    return found


def calibration_error(found: Sequence[Interval]) -> float:
    """ECE, 0 (best) to 1."""
    total = sum(one.count for one in found)
    return sum(one.count / total * abs(one.accuracy - one.confidence) for one in found if one.count)


def calibration(number: int, name: str, predictions: Predictions, origin: str) -> Figure:
    """The reliability diagram of one run.

    Args:
        number: Of the run on the page.
        name: Of the run.
        predictions: On the pictures that are reported on.
        origin: Where the predictions stand.
    """
    found = intervals(predictions)
    error = calibration_error(found)
    description = f"Reliability diagram of {name} on {len(predictions)} pictures; calibration error {error:.3f}"
    return Figure(
        title="Whether its probabilities can be trusted",
        caption=_caption(predictions, error, origin),
        wide=draw_reliability(f"calibration-{number}", found, description),
        keys=[Key("right, as promised", RIGHT), Key("promised, not right", UNKEPT), Key("right beyond that", BEYOND)],
        table=Table("Reliability by interval", HEADS, [_row(i, one, origin) for i, one in enumerate(found)]),
    )


def _caption(predictions: Predictions, error: float, origin: str) -> Markup:
    mean = float(predictions.probabilities.max(axis=1).mean())
    top1 = judged.top1(predictions)
    verdict = "level" if abs(mean - top1) <= NEAR else "too sure of itself" if mean > top1 else "too unsure"
    return Markup(
        "Expected calibration error <b>{}</b>. It gives its answers a probability of {} on average, and {} of them are"
        " right: {}. Bars that end on the line tell the truth; the strip below says on how many pictures each stands."
    ).format(
        shown(error, percent, f"{origin} | ece"),
        shown(mean, percent, f"{origin} | confidence"),
        shown(top1, percent, f"{origin} | top1"),
        verdict,
    )


def _row(number: int, one: Interval, origin: str) -> Row:
    name = f"{one.low:.0%} to {one.high:.0%}"
    count = shown(one.count, plain, f"{origin} | interval {number} count")
    if not one.count:
        return Row(name, (count, MISSING, MISSING, MISSING))
    return Row(
        name,
        (
            count,
            shown(one.confidence, percent, f"{origin} | interval {number} confidence"),
            shown(one.accuracy, percent, f"{origin} | interval {number} accuracy"),
            shown(one.accuracy - one.confidence, points, f"{origin} | interval {number} gap"),
        ),
    )
