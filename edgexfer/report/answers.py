"""What a network gets right and wrong: the confusion matrix, figures by class, and which pictures to show."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.proportions import Difference, paired_difference
from edgexfer.report.records import Predictions

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """One picture with what was said of it.

    Attributes:
        index: Position in the predictions.
        file: Name of the picture.
        label: Its class.
        answer: The class that was named.
        confidence: Probability given to ``answer``.
        label_probability: Probability given to ``label``.
    """

    index: int
    file: str
    label: int
    answer: int
    confidence: float
    label_probability: float

    @property
    def right(self) -> bool:
        """Whether the answer is the label."""
        return self.answer == self.label


def confusion(predictions: Predictions, classes: int) -> Matrix:
    """Counts ``(K, K)``: row the true class, column the answer."""
    flat = predictions.labels * classes + predictions.answers
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def top1(predictions: Predictions) -> float:
    """Share of right answers."""
    return float((predictions.answers == predictions.labels).mean())


def most_confused(matrix: Matrix, most: int) -> list[tuple[int, int, int]]:
    """``(true, answer, count)`` of the largest counts off the diagonal, at most ``most``."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    pairs = [divmod(int(flat), len(matrix)) for flat in order]
    return [(t, a, int(off[t, a])) for t, a in pairs if off[t, a] > 0]


def answers(predictions: Predictions) -> list[Answer]:
    """Every picture with its answer."""
    probabilities = predictions.probabilities
    return [
        Answer(i, file, int(label), int(answer), float(probabilities[i, answer]), float(probabilities[i, label]))
        for i, (file, label, answer) in enumerate(
            zip(predictions.files, predictions.labels, predictions.answers, strict=True)
        )
    ]


def confident_mistakes(found: list[Answer], most: int) -> list[Answer]:
    """The wrong answers given with the highest probability."""
    return sorted((a for a in found if not a.right), key=lambda a: (-a.confidence, a.file))[:most]


def sample_right(found: list[Answer], most: int) -> list[Answer]:
    """Right answers, drawn by the hash of the file name (no one chose them), one class after the other."""
    drawn = sorted((a for a in found if a.right), key=lambda a: hashlib.sha256(a.file.encode()).hexdigest())
    turn: dict[int, int] = {}
    keyed = []
    for answer in drawn:
        turn[answer.label] = turn.get(answer.label, -1) + 1
        keyed.append((turn[answer.label], answer.label, answer))
    return [answer for _, _, answer in sorted(keyed, key=lambda k: k[:2])[:most]]


def accuracy_gap(first: Predictions, second: Predictions) -> Difference | None:
    """The accuracy of the first minus that of the second; ``None`` where the two did not see the same pictures."""
    if first.split != second.split or set(first.files) != set(second.files) or not len(first):
        return None
    right = dict(zip(second.files, (second.answers == second.labels).tolist(), strict=True))
    return paired_difference((first.answers == first.labels).tolist(), [right[file] for file in first.files])
