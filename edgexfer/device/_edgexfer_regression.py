r"""Multinomial logistic regression in NumPy alone, full batch by L-BFGS or by mini-batches; nothing else is imported.

Both minimise the same thing over standardised features ``x`` (mean 0, deviation 1 over the rows learned from):

    f(W, b) = 1/N sum_i -log softmax(x_i W + b)[y_i]  +  l2/2 |W|^2

with the intercept ``b`` left unpenalised, so that scikit-learn's ``C`` is ``1 / (l2 N)``. The standardisation is folded
into the layer that is returned: with deviation ``s`` and mean ``m``, ``W' = W / s`` and ``b' = b - m W'``.

Features stay as they are, float32 and perhaps in a file; blocks of them are made float64 as they are needed.
Sources: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989; Gower et al., "SGD:
General Analysis and Improved Rates", 2019, Proposition 3.8 (the step of a mini-batch).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple

import numpy as np

Array = np.ndarray[Any, Any]
Layer = Tuple[Array, Array]

MEMORY = 10  # pairs that L-BFGS remembers
MAX_ITERATIONS = 1000
SMALL = 1e-7  # largest entry of the gradient at which it stops
STALLED = 1e-9  # gain over the last ten iterations, relative to the objective, at which it stops too
BLOCK = 1024  # rows made float64 at once
KEPT_BYTES = 16_000_000  # up to here the rows are kept instead of made anew each time
MOMENTUM = 0.9


class Rows:
    """Some rows of a table of features, standardised as they are read.

    Attributes:
        count: N, how many rows.
        mean: Of each feature over these rows, float64 ``(D,)``.
        deviation: Likewise; 1 for a feature that never changes, which teaches nothing.
    """

    def __init__(self, table: Array, index: Array, dtype: Any = np.float64) -> None:
        """Takes the rows ``index`` of ``table``; float32 is enough to rank penalties, in half the time."""
        self._table, self._index, self._dtype = table, np.asarray(index, np.int64), np.dtype(dtype)
        self.count = len(self._index)
        self.mean, self.deviation = self._moments()
        self._kept: Optional[List[Array]] = None
        if self.count * table.shape[1] * self._dtype.itemsize <= KEPT_BYTES:
            self._kept = [self._standardised(self._index)]

    @property
    def width(self) -> int:
        """D, how many features."""
        return int(self._table.shape[1])

    def blocks(self) -> Iterator[Tuple[int, Array]]:
        """The position of each block's first row, and the block, float64 ``(<= BLOCK, D)``."""
        if self._kept is not None:
            yield 0, self._kept[0]
            return
        for start in range(0, self.count, BLOCK):
            yield start, self._standardised(self._index[start : start + BLOCK])

    def take(self, positions: Array) -> Array:
        """Some rows by their positions among these, float64."""
        if self._kept is not None:
            rows: Array = self._kept[0][positions]
            return rows
        return self._standardised(self._index[positions])

    def folded(self, weight: Array) -> Layer:
        """A layer ``(D + 1, K)`` over standardised features as ``W (D, K), b (K,)`` over the features as they are."""
        w = weight[:-1] / self.deviation[:, None]
        return w, weight[-1] - self.mean @ w

    def _standardised(self, index: Array) -> Array:
        rows = self._table[index].astype(self._dtype)
        rows -= self.mean.astype(self._dtype)
        rows /= self.deviation.astype(self._dtype)
        return rows

    def _moments(self) -> Tuple[Array, Array]:
        mean, square = np.zeros(self.width), np.zeros(self.width)
        for start in range(0, self.count, BLOCK):
            mean += self._table[self._index[start : start + BLOCK]].sum(axis=0, dtype=np.float64)
        mean /= max(1, self.count)
        for start in range(0, self.count, BLOCK):
            square += ((self._table[self._index[start : start + BLOCK]] - mean) ** 2).sum(axis=0)
        deviation = np.sqrt(square / max(1, self.count))
        return mean, np.where(deviation > 1e-8, deviation, 1.0)


def fit(
    features: Array,
    labels: Array,
    classes: int,
    l2: float,
    *,
    index: Optional[Array] = None,
    progress: Callable[[int, float], None] = lambda iteration, loss: None,
) -> Layer:
    """Learns a linear layer by L-BFGS on all rows at once.

    Args:
        features: ``(N, D)``; float32, and perhaps mapped from a file.
        labels: Integers from 0 to ``classes - 1``, one a row.
        classes: K.
        l2: Strength of the penalty, on standardised features.
        index: The rows of ``features`` to learn from, in the order of the labels; ``None`` for all.
        progress: Told each iteration and the value of the objective.

    Returns:
        float64 ``W (D, K)`` and ``b (K,)`` for the features as they were given.
    """
    rows = Rows(features, np.arange(len(features)) if index is None else index)
    return rows.folded(minimise(rows, labels, classes, l2, progress=progress))


def fit_minibatch(
    features: Array,
    labels: Array,
    classes: int,
    l2: float,
    *,
    index: Optional[Array] = None,
    iterations: int = 500,
    batch: int = 64,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda iteration, loss: None,
) -> Layer:
    """Learns a linear layer by gradient steps with momentum on ``batch`` rows each; arguments as in ``fit``.

    The step is one over the expected smoothness of a mini-batch, so that there is no learning rate to choose, and falls
    linearly to nothing over the second half.
    """
    rows = Rows(features, np.arange(len(features)) if index is None else index)
    step = 1.0 / _smoothness(rows, min(batch, rows.count), l2)
    generator = np.random.Generator(np.random.PCG64(seed))
    weight, speed = np.zeros((rows.width + 1, classes)), np.zeros((rows.width + 1, classes))
    order = generator.permutation(rows.count)
    at = 0
    for iteration in range(iterations):
        if at >= rows.count:
            order, at = generator.permutation(rows.count), 0
        taken = order[at : at + batch]
        at += batch
        loss, slope = _block_gradient(rows.take(taken), labels[taken], weight)
        slope /= len(taken)
        slope[:-1] += l2 * weight[:-1]
        speed = MOMENTUM * speed - step * min(1.0, 2.0 * (1 - iteration / iterations)) * slope
        weight += speed
        progress(iteration + 1, loss / len(taken))
    return rows.folded(weight)


def minimise(
    rows: Rows,
    labels: Array,
    classes: int,
    l2: float,
    *,
    start: Optional[Array] = None,
    small: float = SMALL,
    progress: Callable[[int, float], None] = lambda iteration, loss: None,
) -> Array:
    """The minimum of the objective by L-BFGS, float64 ``(D + 1, K)``; the last row is the intercept."""
    weight = np.zeros((rows.width + 1, classes)) if start is None else start.copy()
    loss, slope = objective(rows, labels, weight, l2)
    pairs: Deque[Tuple[Array, Array]] = deque(maxlen=MEMORY)
    lately: Deque[float] = deque(maxlen=MEMORY)
    for iteration in range(MAX_ITERATIONS):
        if np.abs(slope).max() < small or (len(lately) == MEMORY and lately[0] - loss < STALLED * loss):
            break
        lately.append(loss)
        towards = _direction(slope, pairs)
        step, moved, new_loss, new_slope = _search(rows, labels, l2, weight, towards, loss, slope, not pairs)
        if step == 0.0:  # nothing below can be told from rounding
            break
        difference = new_slope - slope
        if float(np.vdot(difference, moved - weight)) > 1e-12:
            pairs.append((moved - weight, difference))
        weight, loss, slope = moved, new_loss, new_slope
        progress(iteration + 1, loss)
    return weight


def objective(rows: Rows, labels: Array, weight: Array, l2: float) -> Tuple[float, Array]:
    """``f`` and its gradient ``(D + 1, K)`` at ``weight (D + 1, K)``."""
    loss, slope = 0.0, np.zeros_like(weight)
    for start, block in rows.blocks():
        part, change = _block_gradient(block, labels[start : start + len(block)], weight)
        loss += part
        slope += change
    slope /= rows.count
    slope[:-1] += l2 * weight[:-1]
    return loss / rows.count + 0.5 * l2 * float(np.sum(weight[:-1] ** 2)), slope


def cross_entropy(logits: Array, labels: Array) -> float:
    """Sum over the rows of ``-log softmax(logits)[label]``."""
    return float(-_log_softmax(logits)[np.arange(len(labels)), labels].sum())


def _block_gradient(block: Array, labels: Array, weight: Array) -> Tuple[float, Array]:
    log_shares = _log_softmax(block @ weight[:-1].astype(block.dtype) + weight[-1])
    at = np.arange(len(labels))
    loss = float(-log_shares[at, labels].sum())
    residual = np.exp(log_shares)
    residual[at, labels] -= 1.0
    return loss, np.concatenate([block.T @ residual.astype(block.dtype), residual.sum(axis=0)[None]])


def _log_softmax(logits: Array) -> Array:
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True)
    shares: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shares


def _direction(slope: Array, pairs: Deque[Tuple[Array, Array]]) -> Array:
    """The two-loop recursion: minus the estimated inverse Hessian times the gradient."""
    towards = -slope
    shares: List[float] = []
    for moved, changed in reversed(pairs):
        share = float(np.vdot(moved, towards) / np.vdot(moved, changed))
        shares.append(share)
        towards = towards - share * changed
    if pairs:
        moved, changed = pairs[-1]
        towards = towards * float(np.vdot(moved, changed) / np.vdot(changed, changed))
    for (moved, changed), share in zip(pairs, reversed(shares)):
        towards = towards + (share - float(np.vdot(changed, towards) / np.vdot(moved, changed))) * moved
    return towards


def _search(
    rows: Rows, labels: Array, l2: float, weight: Array, towards: Array, loss: float, slope: Array, first: bool
) -> Tuple[float, Array, float, Array]:
    """A step that lowers the objective enough (Armijo), halved until it does; step 0 where none does."""
    downhill = float(np.vdot(slope, towards))
    if downhill >= 0:
        towards, downhill = -slope, -float(np.vdot(slope, slope))
    step = 1.0 / max(1.0, float(np.linalg.norm(slope))) if first else 1.0
    for _ in range(40):
        moved = weight + step * towards
        new_loss, new_slope = objective(rows, labels, moved, l2)
        if new_loss <= loss + 1e-4 * step * downhill:
            return step, moved, new_loss, new_slope
        step *= 0.5
    return 0.0, weight, loss, slope


def _smoothness(rows: Rows, batch: int, l2: float) -> float:
    """Expected smoothness of the objective seen through mini-batches of ``batch`` rows, intercept included.

    The softmax is at most 1/2-smooth in its logits (Boehning 1992), so a row ``x`` gives ``(|x|^2 + 1) / 2``.
    """
    vector = np.ones(rows.width) / np.sqrt(rows.width)
    largest, longest = 1.0, 0.0
    for _ in range(8):  # power iteration for the largest eigenvalue of X^T X / N
        grown = np.zeros(rows.width)
        for _, block in rows.blocks():
            grown += block.T @ (block @ vector)
            longest = max(longest, float(np.square(block).sum(axis=1).max()))
        grown /= rows.count
        largest = max(1.0, float(np.linalg.norm(grown)))
        vector = grown / largest
    single = (rows.count - batch) / (batch * max(1, rows.count - 1))
    whole = rows.count * (batch - 1) / (batch * max(1, rows.count - 1)) if batch > 1 else 0.0
    return 0.5 * (whole * (largest + 1) + max(single, 1 / rows.count) * (longest + 1)) + l2
