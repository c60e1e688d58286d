"""How much frozen features say about labels, without training the network.

LogME (You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021, algorithm 1):
the evidence p(y | F) of a Bayesian linear model y = F w + noise, w ~ N(0, 1/alpha), noise ~ N(0, 1/beta), at the alpha
and beta that make it largest; its logarithm over N, averaged over the K one-hot columns of the labels. With
S = alpha I + beta F'F and m = beta S^-1 F'y,

    log p = N/2 log beta + D/2 log alpha - N/2 log 2 pi - beta/2 ||F m - y||^2 - alpha/2 ||m||^2 - 1/2 log |S|

H-score (Bao et al., "An Information-Theoretic Approach to Transferability", ICIP 2019, equation 8) with the shrunk
covariance of Ledoit and Wolf 2004, as Ibrahim, Ponomareva and Mazumder, "Newer is not always better", ECML 2022,
section 3, advise:

    H = tr( Sigma_s^-1 (1 - s) Cov(E[f | y]) ),    Sigma_s = (1 - s) Cov(f) + s tr(Cov(f)) / D I
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from edgexfer.errors import TrainingError
from edgexfer.proportions import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
KNN_NEIGHBOURS = 5
_LOGME_ITERATIONS = 100
_LOGME_TOLERANCE = 1e-6
_LEAST = 1e-12
"""What counts as nothing: features that fit every picture leave no residual, dead ones no signal."""


@dataclass(frozen=True)
class Interval:
    """A share with what it may be.

    Attributes:
        value: The share found.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def share_of(right: float, count: int) -> Interval:
    """A share with its 95% interval (``edgexfer.proportions.wilson``); ``right`` may be a mean over repeats.

    Raises:
        TrainingError: ``count`` is 0.
    """
    if count < 1:
        raise TrainingError("no picture was asked, so there is no accuracy to state")
    return Interval(right / count, *wilson(right, count))


def logme(features: NDArray[np.floating], labels: Ints) -> float:
    """LogME of features ``(N, D)`` for labels ``(N,)``, over the classes that are there; larger is better."""
    features = np.asarray(features, np.float64)
    count, width = features.shape
    left, spectrum, _ = np.linalg.svd(features, full_matrices=False)
    squares = spectrum**2
    evidences = []
    for kind in np.unique(labels):
        target = (labels == kind).astype(np.float64)
        along = (left.T @ target) ** 2
        rest = max(float(target @ target) - float(along.sum()), 0.0)
        evidences.append(_evidence(squares, along, rest, count, width))
    return float(np.mean(evidences))


def _evidence(squares: Floats, along: Floats, rest: float, count: int, width: int) -> float:
    """The log evidence over N, from the squared singular values and the target's squared part along each."""
    alpha, beta = 1.0, 1.0
    for _ in range(_LOGME_ITERATIONS):
        known = beta * squares / (alpha + beta * squares)
        gamma = float(known.sum())
        mean_square = float((beta**2 * squares * along / (alpha + beta * squares) ** 2).sum())
        residual = float((along * (1 - known) ** 2).sum()) + rest
        alpha_next = max(gamma, _LEAST) / max(mean_square, _LEAST)
        beta_next = max(count - gamma, _LEAST) / max(residual, _LEAST)
        settled = abs(alpha_next / beta_next - alpha / beta) <= _LOGME_TOLERANCE * alpha / beta
        alpha, beta = alpha_next, beta_next
        if settled:
            break
    known = beta * squares / (alpha + beta * squares)
    mean_square = float((beta**2 * squares * along / (alpha + beta * squares) ** 2).sum())
    residual = float((along * (1 - known) ** 2).sum()) + rest
    log_determinant = float(np.log(alpha + beta * squares).sum()) + (width - len(squares)) * math.log(alpha)
    evidence = (
        count / 2 * (math.log(beta) - math.log(2 * math.pi))
        + width / 2 * math.log(alpha)
        - beta / 2 * residual
        - alpha / 2 * mean_square
        - log_determinant / 2
    )
    return evidence / count


def h_score(features: NDArray[np.floating], labels: Ints) -> float:
    """H-score of features ``(N, D)`` for labels ``(N,)``, covariance shrunk; larger is better, at most K - 1."""
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    covariance, shrinkage = ledoit_wolf(centred, assume_centered=True)
    means = np.zeros_like(centred)
    for kind in np.unique(labels):
        means[labels == kind] = centred[labels == kind].mean(axis=0)
    between = means.T @ means / len(centred)
    return float((1 - shrinkage) * np.trace(np.linalg.pinv(covariance, hermitian=True) @ between))


def knn_top1(
    features: NDArray[np.floating], labels: Ints, neighbours: int = KNN_NEIGHBOURS, groups: Ints | None = None
) -> float:
    """Leave-one-out accuracy of the ``neighbours`` nearest by cosine; the nearer of two equal votes wins.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``.
        neighbours: How many vote.
        groups: Pictures with the same number do not vote for one another; each alone if ``None``.

    Raises:
        TrainingError: A single picture has no neighbours.
    """
    rows = np.asarray(features, np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    neighbours = min(neighbours, len(rows) - 1)
    if neighbours < 1:
        raise TrainingError("one picture has no neighbours; two are needed at least")
    right = 0
    kinds = int(labels.max()) + 1
    groups = np.arange(len(rows)) if groups is None else groups
    for start in range(0, len(rows), 1024):
        part = rows[start : start + 1024]
        near = part @ rows.T
        near[groups[start : start + len(part), None] == groups[None, :]] = -np.inf
        chosen = np.argsort(-near, axis=1, kind="stable")[:, :neighbours]
        similarity = np.take_along_axis(near, chosen, axis=1)
        votes = np.zeros((len(part), kinds))
        for column in range(neighbours):
            votes[np.arange(len(part)), labels[chosen[:, column]]] += np.where(
                np.isfinite(similarity[:, column]), 1 + 1e-6 * similarity[:, column], 0.0
            )
        right += int((votes.argmax(axis=1) == labels[start : start + len(part)]).sum())
    return right / len(rows)
