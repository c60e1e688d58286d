"""Who learns and who is held out: by class, and never one group on both sides. Standard library and NumPy.

A group is a set of pictures that belong together, such as a burst. A group whose pictures have several labels is
always learned from.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from _edgexfer_regression import Rows, cross_entropy, minimise

Array = np.ndarray[Any, Any]

FOLDS = 5
MANY = 4000  # rows from which one fold says enough
L2_GRID = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
L2_DEFAULT = 0.01
ROUGH = 1e-4  # gradient at which a fit is good enough to compare penalties
Z = 1.959964


def holdout(labels: Array, groups: Array, share: float, seed: int) -> Array:
    """Which rows are held out, bool ``(N,)``: about ``share`` of each class, in whole groups, never the last one."""
    generator = np.random.Generator(np.random.PCG64(seed))
    held = np.zeros(len(labels), bool)
    for members in _by_class(labels, groups).values():
        if len(members) < 2:
            continue
        order = [members[i] for i in generator.permutation(len(members))]
        wanted = max(1, round(share * sum(map(len, order))))
        taken = 0
        for group in order[:-1]:
            if taken + len(group) <= wanted:
                held[group] = True
                taken += len(group)
        if not taken:
            smallest = min(order, key=len)
            if 2 * len(smallest) <= sum(map(len, order)):
                held[smallest] = True
    return held


def folds(labels: Array, groups: Array, count: int, seed: int) -> Array:
    """The fold of each row, ``(N,)``, and -1 for the rows that are learned from in every fold."""
    generator = np.random.Generator(np.random.PCG64(seed))
    fold = np.full(len(labels), -1, np.int64)
    for members in _by_class(labels, groups).values():
        if len(members) < 2:
            continue
        filled = [0] * count
        order = [members[i] for i in generator.permutation(len(members))]
        for group in sorted(order, key=len, reverse=True):
            least = filled.index(min(filled))
            fold[group] = least
            filled[least] += len(group)
    return fold


def choose_l2(
    table: Array,
    index: Array,
    labels: Array,
    groups: Array,
    classes: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tuple[float, Dict[float, float]]:
    """The penalty with the lowest cross-entropy in cross-validation, five-fold up to ``MANY`` rows, one fold beyond.

    Args:
        table: Features, all of them.
        index: The rows of ``table`` to learn from, ``(N,)``.
        labels: Of those rows.
        groups: Likewise.
        classes: K.
        seed: Of the folds.
        progress: Told how many fits are done, and of how many at most.

    Returns:
        The penalty, and the mean cross-entropy of each that was tried; it goes from strong to weak and stops when two
        in a row were worse. ``L2_DEFAULT`` and nothing where no class can be divided.
    """
    fold = folds(labels, groups, FOLDS, seed)
    there = [number for number in range(FOLDS) if np.any(fold == number)]
    if len(there) < 2:
        return L2_DEFAULT, {}
    there = there[:1] if len(index) > MANY else there
    parts = [_Fold(table, index, labels, fold, number) for number in there]
    judged = int(np.isin(fold, there).sum())
    losses: Dict[float, float] = {}
    for number, l2 in enumerate(L2_GRID):
        total = 0.0
        for place, part in enumerate(parts):
            total += part.loss(classes, l2)
            progress(number * len(parts) + place + 1, len(L2_GRID) * len(parts))
        losses[l2] = total / judged
        tried = list(losses.values())
        if len(tried) > 2 and min(tried[-2:]) > min(tried):
            break
    return min(losses, key=lambda l2: losses[l2]), losses


def wilson(right: float, count: int) -> Tuple[float, float]:
    """The 95% interval of a share (Wilson 1927), which holds for few trials and for shares of 0 and 1 too."""
    if not count:
        return 0.0, 1.0
    share, room = right / count, Z * Z / count
    middle = share + room / 2
    half = Z * math.sqrt(share * (1 - share) / count + room / (4 * count))
    return max(0.0, (middle - half) / (1 + room)), min(1.0, (middle + half) / (1 + room))


class _Fold:
    """One division into rows learned from and rows judged on; each fit starts where the last one ended."""

    def __init__(self, table: Array, index: Array, labels: Array, fold: Array, number: int) -> None:
        learn, self._judge = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        self._table, self._index, self._labels = table, index, labels
        self._learn = learn
        self._weight: Optional[Array] = None

    def loss(self, classes: int, l2: float) -> float:
        """Summed cross-entropy on the rows judged on."""
        rows = Rows(self._table, self._index[self._learn], np.float32)
        weight = minimise(rows, self._labels[self._learn], classes, l2, start=self._weight, small=ROUGH)
        self._weight = weight
        w, b = rows.folded(weight)
        return cross_entropy(
            self._table[self._index[self._judge]].astype(np.float64) @ w + b, self._labels[self._judge]
        )


def _by_class(labels: Array, groups: Array) -> Dict[int, List[Array]]:
    """The groups of each class, as arrays of positions; groups of several classes are left out."""
    found: Dict[int, List[Array]] = {}
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else _none():
        if len(set(labels[members].tolist())) == 1:
            found.setdefault(int(labels[members[0]]), []).append(members)
    return dict(sorted(found.items()))


def _none() -> Sequence[Array]:
    return ()
