"""Multinomial logistic regression in NumPy: full batch, accelerated gradient descent, L2 on the weights.

Minimises ``mean cross-entropy + l2 / 2 * |W|^2`` over standardised features; the bias is not shrunk. The step is one
over the Lipschitz constant of the gradient, ``0.5 * largest eigenvalue of X^T X / N + l2``, so there is no learning
rate to choose, and the momentum starts again whenever it points uphill.
Sources: Boehning, "Multinomial logistic regression algorithm", 1992 (the bound); O'Donoghue and Candes, "Adaptive
restart for accelerated gradient schemes", 2015.
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
from _edgexfer_model import softmax

MAX_STEPS = 3000
SMALL = 1e-6  # largest entry of the gradient at which it stops


def fit(
    features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: int, l2: float
) -> Tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Learns a linear layer.

    Args:
        features: ``(N, D)``.
        labels: Integers from 0 to ``classes - 1``, ``(N,)``.
        classes: K.
        l2: Strength of the shrinkage, on standardised features.

    Returns:
        float64 ``W (D, K)`` and ``b (K,)`` for the features as they were given: the standardisation is folded in.
    """
    raw = np.asarray(features, np.float64)
    mean, std = raw.mean(axis=0), raw.std(axis=0)
    std = np.where(std > 1e-8, std, 1.0)  # a feature that never changes teaches nothing
    x = np.concatenate([(raw - mean) / std, np.ones((len(raw), 1))], axis=1)
    weight = minimise(x, np.eye(classes)[labels], l2)
    w = weight[:-1] / std[:, None]
    return w, weight[-1] - mean @ w


def minimise(x: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], l2: float) -> np.ndarray[Any, Any]:
    """The minimum for ``x (N, D + 1)`` whose last column is 1, and one-hot ``targets (N, K)``; ``(D + 1, K)``."""
    shrink = np.full((x.shape[1], 1), l2)
    shrink[-1] = 0.0
    step = 1.0 / (0.5 * np.linalg.norm(x, 2) ** 2 / len(x) + l2)
    weight = np.zeros((x.shape[1], targets.shape[1]))
    ahead, speed = weight, 1.0
    for _ in range(MAX_STEPS):
        gradient = x.T @ (softmax(x @ ahead) - targets) / len(x) + shrink * ahead
        if np.abs(gradient).max() < SMALL:
            return ahead
        moved = ahead - step * gradient
        if float(np.sum(gradient * (moved - weight))) > 0:
            speed = 1.0
        faster = (1 + np.sqrt(1 + 4 * speed**2)) / 2
        ahead = moved + (speed - 1) / faster * (moved - weight)
        weight, speed = moved, faster
    return weight


def split(labels: np.ndarray[Any, Any], share: float, seed: int) -> Tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Indices to learn on and to score on; of each class ``share`` is held out, at least one, but never its last."""
    generator = np.random.Generator(np.random.PCG64(seed))
    learn, score = [], []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held = min(max(1, round(share * len(members))), len(members) - 1)
        score.append(members[:held])
        learn.append(members[held:])
    return np.sort(np.concatenate(learn)), np.sort(np.concatenate(score))
