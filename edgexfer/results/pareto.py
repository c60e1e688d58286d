"""The Pareto front: what nothing else beats.

One cost vector beats another where it is nowhere higher and somewhere lower.
"""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(costs: Sequence[tuple[float, ...]]) -> list[int]:
    """Positions of the cost vectors that no other beats, in rising order; of equal ones the first stands for all.

    Args:
        costs: As long as each other; what is to be high, such as an accuracy, with its sign turned.
    """
    kept = [
        i
        for i, mine in enumerate(costs)
        if not any(_beats(other, mine) or (other == mine and j < i) for j, other in enumerate(costs))
    ]
    return sorted(kept, key=lambda i: costs[i])


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
