"""Cutting pictures into train, val and test, class by class, decided by content and seed alone.

Within a class the groups of pictures are put in the order of ``sha256(seed, smallest digest of the group)``, which no
file name and no file order can change, and dealt in that order: to val while val still has room for the whole group,
else to test, else to train. Where every group is too big for what val (then test) should get, it gets the smallest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexfer.errors import DataError

TRAIN, VAL, TEST = 0, 1, 2
Labels = NDArray[np.int64]


def check_fractions(val_split: float, test_split: float) -> None:
    """Refuses fractions that leave no training or no validation.

    Raises:
        DataError: A fraction is out of range; says what is allowed.
    """
    if not (0 < val_split < 1 and 0 <= test_split < 1 and val_split + test_split < 1):
        raise DataError(
            f"val_split is {val_split!r} and test_split {test_split!r}; allowed: val_split above 0, test_split from 0,"
            " their sum below 1, for example 0.15 and 0.15"
        )


def assign_splits(
    labels: Labels, digests: Sequence[str], groups: NDArray[np.int64], *, seed: int, val_split: float, test_split: float
) -> NDArray[np.int64]:
    """Gives each picture ``TRAIN``, ``VAL`` or ``TEST``, ``(N,)``.

    Every class has a group in train; of at least two groups, one in val; of at least three, one in test too (where
    ``test_split`` is above 0). A group that spans classes is dealt with the class that has most of it, and brought to
    train where a class would have nothing there; such a class can lack val or test.

    Args:
        labels: Class of each picture.
        digests: Content digest of each picture.
        groups: Group number of each picture; a group is never cut.
        seed: Another seed, another assignment.
        val_split: Fraction for val.
        test_split: Fraction for test.
    """
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(position)
    keyed = []
    by_class: dict[int, list[tuple[str, list[int]]]] = {}
    for positions in members.values():
        key = hashlib.sha256(f"{seed} {min(digests[p] for p in positions)}".encode("ascii")).hexdigest()
        keyed.append((key, positions))
        counts = Counter(labels[positions].tolist())
        majority = min(counts, key=lambda label: (-counts[label], label))
        by_class.setdefault(majority, []).append((key, positions))
    sides = np.full(len(labels), TRAIN, dtype=np.int64)
    for dealt in by_class.values():
        ordered = [positions for _, positions in sorted(dealt, key=lambda pair: pair[0])]
        for side, positions in _deal(ordered, val_split, test_split):
            sides[positions] = side
    _bring_to_train(labels, sides, keyed)
    return sides


def _bring_to_train(labels: Labels, sides: NDArray[np.int64], groups: list[tuple[str, list[int]]]) -> None:
    """Gives train the smallest group of each class that has nothing there, in place; the whole of val last of all."""
    for label in np.unique(labels):
        if (sides[labels == label] == TRAIN).any():
            continue
        own = [group for group in groups if (labels[group[1]] == label).any()]
        val = np.flatnonzero(sides == VAL).tolist()
        sides[min(own, key=lambda group: (group[1] == val, len(group[1]), group[0]))[1]] = TRAIN


def _deal(groups: list[list[int]], val_split: float, test_split: float) -> list[tuple[int, list[int]]]:
    """The groups of one class, in order, each with its side; train is left out."""
    total = sum(len(g) for g in groups)
    room = {VAL: max(1, round(total * val_split)), TEST: max(1, round(total * test_split)) if test_split else 0}
    if len(groups) < 2:
        room[VAL] = 0
    if len(groups) < 3:
        room[TEST] = 0
    dealt: list[tuple[int, list[int]]] = []
    left = list(groups)
    for side in (VAL, TEST):
        taken = _fill(left, room[side], keep=1 + (side == VAL and room[TEST] > 0))
        dealt.extend((side, group) for group in taken)
        chosen = {id(group) for group in taken}
        left = [group for group in left if id(group) not in chosen]
    return dealt


def _fill(groups: list[list[int]], room: int, keep: int) -> list[list[int]]:
    """Groups that fit into ``room``, first come first served; the smallest where none fits; ``keep`` stay behind."""
    taken: list[list[int]] = []
    if room == 0:
        return taken
    for group in groups:
        if len(group) <= room and len(taken) < len(groups) - keep:
            taken.append(group)
            room -= len(group)
    return taken or [min(groups, key=len)]
