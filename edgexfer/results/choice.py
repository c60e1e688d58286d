r"""Which of several measured models fits a budget: the most accurate one, and what the others would cost or save.

A candidate beats another where it is at least as good in everything that counts (accuracy, latency, and whatever else
has a budget) and better in something; those that nobody beats are the Pareto front.

Two accuracies on the same pictures, where it is known which pictures were answered right, are compared in pairs. Where
only the shares are known they are compared as if the pictures were others (Newcombe 1998, "Interval estimation for the
difference between independent proportions", method 10), which on the same pictures is too wide and so never claims too
much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgexfer.proportions import Difference, paired_difference, wilson
from edgexfer.results.pareto import pareto_front

AXES = {"latency_s": "latency", "size_bytes": "size", "memory_bytes": "memory"}
"""What a model costs, and how a person calls it."""


@dataclass(frozen=True)
class Accuracy:
    """How many pictures were answered right.

    Attributes:
        top1: The share, 0 to 1.
        images: Of how many; 0 where that was not recorded.
        right: Whether each picture was, in an order that all candidates share; empty where only the share is known.
    """

    top1: float
    images: int
    right: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One model as it was measured.

    Attributes:
        name: What it is called.
        path: Where its file is.
        sha256: Of the file.
        precision: ``"float32"`` or ``"int8"``.
        threads: Threads that it was timed with.
        accuracy: How good it is.
        latency_s: The statistic that the budget is about.
        size_bytes: Of the file.
        memory_bytes: Largest resident memory; ``None`` where it was not measured.
        interval_s: 95% interval of a median latency; ``None`` where there is none.
        notes: What was unusual when it was measured.
    """

    name: str
    path: Path
    sha256: str
    precision: str
    threads: int | None
    accuracy: Accuracy
    latency_s: float
    size_bytes: int
    memory_bytes: int | None = None
    interval_s: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def top1(self) -> float:
        """Its accuracy, 0 to 1."""
        return self.accuracy.top1


@dataclass(frozen=True)
class Budget:
    """What a model may cost; ``None`` for anything.

    Attributes:
        latency_s: Seconds a picture.
        size_bytes: Of the file.
        memory_bytes: Largest resident memory.
    """

    latency_s: float | None = None
    size_bytes: int | None = None
    memory_bytes: int | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """What counts beside accuracy: latency always, the others where they have a budget."""
        return tuple(axis for axis in AXES if axis == "latency_s" or getattr(self, axis) is not None)

    def overrun(self, candidate: Candidate) -> dict[str, float]:
        """Cost over budget, as a ratio above 1, for each budget that ``candidate`` does not keep."""
        ratios = {axis: _cost(candidate, axis) / getattr(self, axis) for axis in AXES if getattr(self, axis)}
        return {axis: ratio for axis, ratio in ratios.items() if ratio > 1}

    def fits(self, candidate: Candidate) -> bool:
        """Whether ``candidate`` keeps every budget."""
        return not self.overrun(candidate)


@dataclass(frozen=True)
class Alike:
    """A cheaper candidate whose accuracy the pictures cannot tell from that of the chosen one."""

    candidate: Candidate
    difference: Difference


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it was chosen from.

    Attributes:
        budget: What it may cost.
        chosen: The most accurate candidate inside the budget, the fastest of equals; ``None`` where nothing fits.
        front: The candidates that nobody beats, fastest first.
        nearest: Where nothing fits: the one that is over budget by the smallest ratio.
        next_step: The cheapest one that is more accurate than the chosen one; ``None`` where there is none.
        gain: How much more accurate the next step is than the chosen one.
        alike: The fastest of those that are faster than the chosen one and, for all that is known, as accurate.
    """

    budget: Budget
    chosen: Candidate | None
    front: tuple[Candidate, ...]
    nearest: Candidate | None = None
    next_step: Candidate | None = None
    gain: Difference | None = None
    alike: Alike | None = None


def choose(candidates: Sequence[Candidate], budget: Budget) -> Choice:
    """The most accurate candidate inside a budget.

    Args:
        candidates: At least one, all measured on one machine and scored on the same pictures.
        budget: What it may cost.
    """
    best = front(candidates, budget.axes)
    fitting = [candidate for candidate in candidates if budget.fits(candidate)]
    if not fitting:
        nearest = min(candidates, key=lambda c: (_worst(budget.overrun(c)), -c.top1))
        return Choice(budget, None, best, nearest)
    chosen = min(fitting, key=lambda c: (-c.top1, *(_cost(c, axis) for axis in AXES)))
    better = [candidate for candidate in candidates if candidate.top1 > chosen.top1]
    step = min(better, key=lambda c: (_worst(budget.overrun(c)), -c.top1), default=None)
    gain = difference(step.accuracy, chosen.accuracy) if step is not None else None
    return Choice(budget, chosen, best, None, step, gain, _alike(chosen, fitting))


def front(candidates: Sequence[Candidate], axes: Sequence[str]) -> tuple[Candidate, ...]:
    """The candidates that no other one beats in accuracy and ``axes``, in the order of the first axis."""
    first, *others = axes
    costs = [(_cost(c, first), -c.top1, *(_cost(c, axis) for axis in others)) for c in candidates]
    return tuple(candidates[i] for i in pareto_front(costs))


def words_of_overrun(overrun: Mapping[str, float]) -> str:
    """What ``Budget.overrun`` says, in words: ``latency by 25.0%, size by 3.1%``."""
    return ", ".join(f"{AXES[axis]} by {ratio - 1:.1%}" for axis, ratio in overrun.items())


def difference(first: Accuracy, second: Accuracy) -> Difference:
    """The first accuracy minus the second, with its 95% interval; -1 to 1 where a number of pictures is not known."""
    gap = first.top1 - second.top1
    if first.right and len(first.right) == len(second.right):
        return paired_difference(first.right, second.right)
    if not (first.images and second.images):
        return Difference(gap, -1.0, 1.0, paired=False)
    (low, high), (below, above) = (wilson(one.top1 * one.images, one.images) for one in (first, second))
    return Difference(
        gap,
        gap - math.hypot(first.top1 - low, above - second.top1),
        gap + math.hypot(high - first.top1, second.top1 - below),
        paired=False,
    )


def _alike(chosen: Candidate, fitting: Sequence[Candidate]) -> Alike | None:
    """The fastest of those that may as well be as accurate as ``chosen``; nothing is known of uncounted pictures."""
    counted = [c for c in fitting if c.accuracy.images and chosen.accuracy.images]
    faster = sorted((c for c in counted if c.latency_s < chosen.latency_s), key=lambda c: c.latency_s)
    for candidate in faster:
        lost = difference(chosen.accuracy, candidate.accuracy)
        if not lost.shown and candidate.sha256 != chosen.sha256:
            return Alike(candidate, lost)
    return None


def _cost(candidate: Candidate, axis: str) -> float:
    value = getattr(candidate, axis)
    return math.inf if value is None else float(value)


def _worst(overrun: Mapping[str, float]) -> float:
    return max(overrun.values(), default=1.0)
