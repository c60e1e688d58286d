"""Multinomial logistic regression on fixed features: the head of a frozen network.

For features x_i of length D, labels y_i and picture weights c_i (mean 1; all 1 unless classes are balanced), it finds
the W (D, K) and b (K,) that minimise the convex

    L(W, b) = 1/N sum_i c_i [ logsumexp(x_i W + b) - (x_i W + b)_{y_i} ] + l2/2 ||W||^2

on standardised features (x - mean) / std; the intercept is not penalised (Hastie, Tibshirani and Friedman, "The
Elements of Statistical Learning", 2nd edition, section 4.4). In scikit-learn's terms C = 1 / (l2 N). The scaling
is folded into W and b afterwards, so that the result acts on raw features.

Solutions lie in the row space of the centred features, which has at most min(N - 1, D) dimensions. Everything is solved
there, in float64, by SciPy's L-BFGS: five pictures a class cost milliseconds however long the embedding is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from edgexfer.errors import TrainingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

L2_GRID = tuple(float(10**e) for e in np.arange(1.0, -5.1, -0.5))
"""Strengths that cross-validation tries, strongest first."""
MOST_FOLDS = 5
GRADIENT_TOLERANCE = 1e-7
_ROUGH_TOLERANCE = 1e-4  # enough to rank strengths
MOST_ITERATIONS = 1_000
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class LinearHead:
    """A linear layer over raw features: ``logits = features @ weight + bias``.

    Attributes:
        weight: float64 ``(D, K)``.
        bias: float64 ``(K,)``.
        l2: The strength it was fitted with.
    """

    weight: Floats
    bias: Floats
    l2: float

    def logits(self, features: NDArray[np.floating]) -> Floats:
        """Features ``(N, D)`` to logits ``(N, K)``."""
        return np.asarray(features, np.float64) @ self.weight + self.bias


@dataclass(frozen=True)
class CrossValidation:
    """What cross-validation found.

    Attributes:
        l2: The strength with the least mean log-loss; of equals the strongest.
        losses: Mean log-loss in nats of each strength tried, held-out rows only; the search ends once it only rises.
        predicted: Class that each picture got while it was held out, ``(repeats, N)``; -1 where it never was.
    """

    l2: float
    losses: dict[float, float]
    predicted: Ints

    def top1(self, labels: Ints) -> float:
        """Share of held-out pictures that were right, over all repeats."""
        asked = self.predicted >= 0
        return float((self.predicted == labels)[asked].mean())


@dataclass(frozen=True)
class _Reduced:
    """Standardised features in an orthonormal basis of their row space: ``rows = ((x - mean) / std) @ basis``."""

    rows: Floats
    basis: Floats
    mean: Floats
    std: Floats


def fit_head(
    features: NDArray[np.floating], labels: Ints, classes: int, l2: float, weights: Floats | None = None
) -> LinearHead:
    """The minimum of the module's loss.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``, from 0 to ``classes - 1``.
        classes: ``K``, at least 2.
        l2: Strength of the penalty, above 0.
        weights: Of each picture ``(N,)``; scaled to a mean of 1.

    Raises:
        TrainingError: There is nothing to fit, or a feature is not a number.
    """
    features, labels = _checked(features, labels, classes)
    reduced = _reduce(features)
    solution = _solve(reduced.rows, labels, classes, l2, _mean_one(weights, len(labels)))
    return _unreduced(solution, reduced, l2)


def cross_validate(
    features: NDArray[np.floating],
    labels: Ints,
    classes: int,
    *,
    groups: Ints | None = None,
    held_out: NDArray[np.bool_] | None = None,
    weights: Floats | None = None,
    grid: Sequence[float] = L2_GRID,
    repeats: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Chooses the strength by stratified, seeded cross-validation.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``.
        classes: ``K``.
        groups: Rows with the same number stay on one side (several views of one picture); each row alone if ``None``.
        held_out: Rows that are scored when held out (the plain view of each picture); all if ``None``.
        weights: Of each row.
        grid: Strengths to try.
        repeats: How often the folds are drawn anew.
        seed: Of the folds.
        progress: Called with how many strengths were tried and how many there are at most.

    Raises:
        TrainingError: Every class has a single picture, so that nothing can be held out.
    """
    features, labels = _checked(features, labels, classes)
    groups = np.arange(len(labels)) if groups is None else groups
    scored = np.ones(len(labels), bool) if held_out is None else held_out
    rows, weight = _reduce(features).rows, _mean_one(weights, len(labels))
    folds = [(repeat, test) for repeat in range(repeats) for test in _folds(labels, groups, seed + 1000 * repeat)]
    asked = sum(float(weight[test & scored].sum()) for _, test in folds)
    warm: list[Floats | None] = [None] * len(folds)
    losses: dict[float, float] = {}
    best = np.full((repeats, len(labels)), -1, np.int64)
    for done, l2 in enumerate(sorted(grid, reverse=True)):
        predicted, loss = np.full_like(best, -1), 0.0
        for k, (repeat, test) in enumerate(folds):
            train, test = ~test, test & scored
            start = _mean_one(weight[train], int(train.sum()))
            layer = _solve(rows[train], labels[train], classes, l2, start, warm[k], tolerance=_ROUGH_TOLERANCE)
            logits = rows[test] @ layer[:-1] + layer[-1]
            loss += float((weight[test] * _nats(logits, labels[test])).sum()) / asked
            predicted[repeat, test] = logits.argmax(axis=1)
            warm[k] = layer
        if not losses or loss < min(losses.values()):
            best = predicted
        losses[l2] = loss
        if progress is not None:
            progress(done + 1, len(grid))
        if _only_rises(list(losses.values())):
            break
    return CrossValidation(min(losses, key=lambda l2: losses[l2]), losses, best)


def _only_rises(losses: Sequence[float]) -> bool:
    """Whether the loss has risen over the last decade of strengths, so that weaker ones need no trying."""
    return len(losses) > 3 and losses[-3] < losses[-2] < losses[-1] and min(losses) < losses[-2]


def balanced_weights(labels: Ints) -> Floats:
    """Weights ``(N,)`` of mean 1 that give each class that is there the same share of the loss."""
    counts = np.bincount(labels)
    return len(labels) / (np.count_nonzero(counts) * counts[labels].astype(np.float64))


def _folds(labels: Ints, groups: Ints, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Masks of held-out rows: classes spread evenly, groups whole; a class with one group is never held out."""
    firsts = np.unique(groups, return_index=True)[1]
    kinds, keys = labels[firsts], groups[firsts]
    counts = np.bincount(kinds)
    most = int(counts.max())
    if most < 2:
        raise TrainingError("every class has a single picture; cross-validation needs two of a class at least")
    rng = np.random.default_rng(seed)
    fold_count = min(MOST_FOLDS, most)
    fold_of = np.full(int(keys.max()) + 1, -1)
    start = 0
    for kind in np.flatnonzero(counts >= 2):
        members = rng.permutation(keys[kinds == kind])
        fold_of[members] = (start + np.arange(len(members))) % fold_count
        start += len(members)
    row_folds = fold_of[groups]
    for fold in range(fold_count):
        test = row_folds == fold
        if test.any():
            yield test


def _checked(features: NDArray[np.floating], labels: Ints, classes: int) -> tuple[Floats, Ints]:
    features, labels = np.array(features, dtype=np.float64), np.array(labels, dtype=np.int64)
    if features.ndim != 2 or len(features) != len(labels) or not len(labels):
        raise TrainingError(
            f"features of shape {features.shape} and {len(labels)} labels; expected (N, D) and N of them"
        )
    if classes < 2 or labels.min() < 0 or labels.max() >= classes:
        raise TrainingError(
            f"labels from {labels.min()} to {labels.max()} for {classes} classes; two classes are needed"
        )
    if not np.isfinite(features).all():
        raise TrainingError("a feature is not a number; the network's weights are damaged or its input is out of range")
    return features.astype(np.float64, copy=False), labels.astype(np.int64, copy=False)


def _mean_one(weights: Floats | None, count: int) -> Floats:
    return np.ones(count) if weights is None else np.asarray(weights, np.float64) * (count / np.sum(weights))


def _reduce(features: Floats) -> _Reduced:
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 1e-8 * max(1.0, float(std.max())), std, np.inf)  # a constant feature says nothing
    rows = (features - mean) / std
    if len(rows) > rows.shape[1]:  # tall: the eigenvectors of the small Gram matrix span the same space
        values, basis = np.linalg.eigh(rows.T @ rows)
        basis = basis[:, values > _RANK_TOLERANCE * max(float(values[-1]), 1e-300)]
    else:
        _, spectrum, right = np.linalg.svd(rows, full_matrices=False)
        basis = right[spectrum > np.sqrt(_RANK_TOLERANCE) * max(float(spectrum[0]), 1e-300)].T
    return _Reduced(rows @ basis, basis, mean, std)


def _unreduced(solution: Floats, reduced: _Reduced, l2: float) -> LinearHead:
    weight = (reduced.basis @ solution[:-1]) / reduced.std[:, None]
    return LinearHead(weight, solution[-1] - reduced.mean @ weight, l2)


def _nats(logits: Floats, labels: Ints) -> Floats:
    return np.asarray(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels], np.float64)


def _solve(
    rows: Floats,
    labels: Ints,
    classes: int,
    l2: float,
    weights: Floats,
    warm: Floats | None = None,
    *,
    tolerance: float = GRADIENT_TOLERANCE,
) -> Floats:
    """``(r + 1, K)``: the solution in the reduced space, its last row the intercept."""
    count, width = rows.shape
    targets = np.zeros((count, classes))
    targets[np.arange(count), labels] = 1.0
    share = (weights / count)[:, None]

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        layer = flat.reshape(width + 1, classes)
        logits = rows @ layer[:-1] + layer[-1]
        scale = logits.max(axis=1, keepdims=True)
        grown = np.exp(logits - scale)
        total = grown.sum(axis=1, keepdims=True)
        nats = np.log(total) + scale - (logits * targets).sum(axis=1, keepdims=True)
        slope = share * (grown / total - targets)
        gradient = np.empty_like(layer)
        gradient[:-1] = rows.T @ slope + l2 * layer[:-1]
        gradient[-1] = slope.sum(axis=0)
        return float((share * nats).sum() + l2 / 2 * (layer[:-1] ** 2).sum()), gradient.ravel()

    start = np.zeros((width + 1) * classes) if warm is None else warm.ravel()
    options = {"maxiter": MOST_ITERATIONS, "gtol": tolerance, "ftol": tolerance / 1e6, "maxcor": 20}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, np.float64).reshape(width + 1, classes)
