"""The pictures behind each cell of a confusion matrix, as many as a page can carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgexfer.report import answers as judged
from edgexfer.report.values import Value, plain

MOST_PICTURES = 90
MOST_A_CELL = 6
Place = tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion table.

    Attributes:
        count: How many pictures; ``None`` where there are none.
        share: Of the row, 0 to 1.
        right: Whether it is on the diagonal.
        title: What it counts, in words.
        anchor: The id of the pictures behind it; empty where the page carries none.
    """

    count: Value | None
    share: float
    right: bool
    title: str
    anchor: str


@dataclass(frozen=True)
class Behind:
    """The pictures behind one cell.

    Attributes:
        anchor: Its id.
        title: What they have in common.
        cards: The pictures.
        more: How many further ones there are.
    """

    anchor: str
    title: str
    cards: Sequence[Any]
    more: int


def cells(matrix: judged.Matrix, classes: Sequence[str], origin: str, anchors: dict[Place, str]) -> list[list[Cell]]:
    """Rows of the confusion table."""
    totals = np.maximum(matrix.sum(axis=1), 1)
    return [
        [
            Cell(
                Value(plain(int(count)), int(count), f"{origin} | confused {t} {a}") if count else None,
                round(float(count / totals[t]), 3),
                t == a,
                f"{count} of {totals[t]} pictures of “{classes[t]}” were called “{classes[a]}”",
                anchors.get((t, a), ""),
            )
            for a, count in enumerate(row)
        ]
        for t, row in enumerate(matrix)
    ]


def behind_cells(found: Sequence[judged.Answer], most: int = MOST_PICTURES) -> dict[Place, list[judged.Answer]]:
    """The pictures to show of each cell: of mistakes the most confident, of right answers the least.

    Every cell gets its first picture before any gets a second one, mistakes and fuller cells first.
    """
    groups: dict[Place, list[judged.Answer]] = {}
    for answer in found:
        groups.setdefault((answer.label, answer.answer), []).append(answer)
    for group in groups.values():
        group.sort(key=lambda one: (one.confidence if one.right else -one.confidence, one.file))
    order = sorted(groups, key=lambda place: (place[0] == place[1], -len(groups[place]), place))
    chosen: dict[Place, list[judged.Answer]] = {}
    for turn in range(MOST_A_CELL):
        for place in order:
            if turn < len(groups[place]) and most > 0:
                chosen.setdefault(place, []).append(groups[place][turn])
                most -= 1
    return chosen
