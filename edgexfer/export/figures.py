"""The few figures that every proof is made of; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgexfer.proportions import paired_difference


@dataclass(frozen=True)
class Drop:
    """Accuracy that one model lost against another on the same pictures.

    Attributes:
        points: Percentage points lost; negative where it gained.
        interval: The 95% interval of ``points``.
    """

    points: float
    interval: tuple[float, float]


def paired_drop(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Drop:
    """The loss from logits ``before`` to ``after``, both ``(N, K)``, on labels ``(N,)``."""
    first, second = before.argmax(axis=1) == labels, after.argmax(axis=1) == labels
    lost = paired_difference(first.tolist(), second.tolist())
    return Drop(100 * lost.value, (100 * lost.low, 100 * lost.high))


def max_abs_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute difference, computed in float64; NaN counts as infinitely far."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return float(np.nan_to_num(gap, nan=np.inf, posinf=np.inf).max(initial=0.0))


def farthest(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The rows of ``(N, K)`` by their largest difference, the most different first, ``(N,)``."""
    gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(axis=1, initial=0.0)
    return np.argsort(-gap, kind="stable")


def agreement(found: np.ndarray, wanted: np.ndarray) -> float:
    """Fraction of rows ``(N, K)`` whose largest entry is the same."""
    return float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of rows ``(N, K)`` whose largest entry is the label ``(N,)``."""
    return float((logits.argmax(axis=1) == labels).mean())


def divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of softmax(``found``) from softmax(``wanted``), both logits ``(N, K)``."""
    p, q = _log_softmax(wanted), _log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
