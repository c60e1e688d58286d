"""The linear probe by depth: how well a linear head does on the features at each place of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.transfer.blocks import EMBEDDING, Place
from edgexfer.transfer.features import Rows
from edgexfer.transfer.head import repeats_for
from edgexfer.transfer.logistic import cross_validate

MOST_PROBED = 2_000
"""Pictures that a probe looks at, at most."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Probe:
    """What a linear probe finds at one place.

    Attributes:
        place: Where.
        depth: Share of the body's parameters before it.
        top1: Cross-validated accuracy on training pictures.
    """

    place: str
    depth: float
    top1: float


def probe_by_depth(
    rows: Rows, places: Sequence[Place], labels: Ints, classes: int, seed: int, groups: Ints | None = None
) -> list[Probe]:
    """Cross-validated accuracy of a linear head on the features at each place, and on the embedding, last.

    Args:
        rows: Features ``(N, C)`` by the places' names, and ``embedding``.
        places: From shallow to deep.
        labels: ``(N,)``.
        classes: ``K``.
        seed: Of folds and draws.
        groups: Pictures with the same number are held out together; each alone if ``None``.
    """
    chosen = sampled(len(labels), seed)
    together = None if groups is None else groups[chosen]
    repeats = repeats_for(len(chosen))
    where = [*((place.name, place.depth) for place in places), (EMBEDDING, 1.0)]
    found = []
    for name, depth in where:
        validation = cross_validate(
            rows[name][chosen], labels[chosen], classes, groups=together, repeats=repeats, seed=seed
        )
        found.append(Probe(name, depth, validation.top1(labels[chosen])))
    return found


def sampled(count: int, seed: int) -> Ints:
    """Positions of the pictures that a probe looks at: all, or ``MOST_PROBED`` drawn by the seed, in order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:MOST_PROBED])
