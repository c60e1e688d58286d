"""Who is trained how long: many shapes for a few epochs, the best third of them three times as long, the last fully.

Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization"), with a factor of three as in Hyperband (Li et al. 2018). Every round begins anew, so that each training
has the whole of its learning-rate schedule; what the teacher said of a picture is kept between them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

FACTOR = 3
LEAST_EPOCHS = 2
FINALISTS = 3
"""Some hundred validation pictures do not tell apart what a short training made of the best two."""

T = TypeVar("T")


def rounds_of(epochs: int) -> list[int]:
    """Epochs of each round, the last one being the full training."""
    shorter = [round(epochs / FACTOR**power) for power in (2, 1)]
    return [count for count in shorter if LEAST_EPOCHS <= count < epochs] + [epochs]


def survivors(scores: Mapping[T, float], most: int | None = None) -> list[T]:
    """Who goes on, best first: ``most``, or a third of all and ``FINALISTS`` at least."""
    best = sorted(scores, key=lambda one: -scores[one])
    return best[: most or max(FINALISTS, math.ceil(len(best) / FACTOR))]


def seconds_of(epochs: int, work: float, known: Sequence[tuple[int, float, float]]) -> float | None:
    """How long a training will take.

    Args:
        epochs: Of the training.
        work: Operations a picture.
        known: ``(epochs, work, seconds)`` of other trainings.

    Returns:
        Seconds, from the training whose work is nearest; ``None`` where nothing is known.
    """
    if not known:
        return None
    nearest = min(known, key=lambda one: abs(math.log(one[1] / work)))
    return nearest[2] * epochs / nearest[0] * max(1.0, work / nearest[1])


def share_of_time(number: int, rounds: int) -> float:
    """Which share of the allowance has to be left untouched after round ``number`` (from 0), for the rounds to come."""
    return 0.0 if number == rounds - 1 else 1 - (number + 1) / (2 * (rounds - 1))


class Clock:
    """The time that a search has taken, and may take.

    Args:
        hours: The allowance; ``None`` for none.
        before: Seconds that it took before it was interrupted.

    Attributes:
        hours: As given.
    """

    def __init__(self, hours: float | None, before: float) -> None:
        self.hours = hours
        self._limit_s = None if hours is None else hours * 3600
        self._begun = time.monotonic() - before

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._begun

    def allows_more_than(self, hours: float | None) -> bool:
        """Whether it may take longer than with another allowance; ``None`` is as long as it takes."""
        return hours is not None and (self.hours is None or self.hours > hours)

    def left(self, untouched: float = 0.0) -> float:
        """Seconds that are left, a share of the allowance untouched; infinite without an allowance."""
        return float("inf") if self._limit_s is None else self._limit_s * (1 - untouched) - self.spent
