"""Two models timed against each other, turn by turn, so that whatever else the machine does hits both."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgexfer.export.golden import feed
from edgexfer.export.runtime import open_session
from edgexfer.preprocessing import Preprocessing

ROUNDS = 40
LEAST_ROUNDS = 8
SECONDS = 3.0
SHORT_SECONDS = 0.4
HEATS = 4
"""As often are ``ROUNDS`` raced where those before could not tell."""
WARM_UP = 2
RUNS = 4
TURN_SECONDS = 0.03
"""A model's turn in a race is so many inferences, or as many as so long takes. The last is timed: it finds its weights
in the caches, as it would in a process of its own; the first finds the other model's. A smaller file gains by that."""
MOST_THREADS = 4
CONFIDENCE = 0.99
NO_FASTER = 1.05
"""A file that wins by less is no faster."""

Outcome = Literal["faster", "same", "slower", "unclear"]


@dataclass(frozen=True)
class Race:
    """Seconds of every inference of one picture, round by round; what is said of them is derived.

    Attributes:
        first_s: Of the first model.
        second_s: Of the second, in the same rounds.
        threads: Within an operator, for both.
    """

    first_s: tuple[float, ...]
    second_s: tuple[float, ...]
    threads: int = 1

    @property
    def medians_s(self) -> tuple[float, float]:
        """The medians of both, in seconds."""
        return float(np.median(self.first_s)), float(np.median(self.second_s))

    @property
    def ratios(self) -> np.ndarray:
        """How many times faster the second was in each round, smallest first: what slows a whole round counts out."""
        return np.sort(np.divide(self.first_s, self.second_s))

    @property
    def speedup(self) -> float:
        """How many times faster the second is: the median over the rounds."""
        return float(np.median(self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        """Where ``speedup`` would lie in endless rounds, with ``CONFIDENCE``; from the order alone (sign test).

        The ends are the k-th smallest and the k-th largest ratio, with the largest k for which a coin tossed n times
        shows fewer than k heads with a chance of at most (1 - ``CONFIDENCE``) / 2. Too few rounds tell nothing: 0 to
        infinity.

        Source: Conover, "Practical Nonparametric Statistics", 3rd edition, section 3.2.
        """
        n = len(self.first_s)
        tail, k = 2.0**-n, 0
        while tail <= (1 - CONFIDENCE) / 2:
            k += 1
            tail += math.comb(n, k) * 2.0**-n
        return (float(self.ratios[k - 1]), float(self.ratios[-k])) if k else (0.0, math.inf)

    @property
    def outcome(self) -> Outcome:
        """Whether the second is faster by at least ``NO_FASTER``, slower by as much, neither, or nobody can tell."""
        low, high = self.interval
        if low <= 1 <= high:
            return "unclear" if high > NO_FASTER else "same"
        if self.speedup >= NO_FASTER:
            return "faster"
        return "slower" if self.speedup <= 1 / NO_FASTER else "same"


def thread_counts() -> tuple[int, ...]:
    """One thread, and one for each usable core, ``MOST_THREADS`` at most; only the one where there is one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (1,) if cores == 1 else (1, min(cores, MOST_THREADS))


def race(
    first: bytes, second: bytes, picture: np.ndarray, preprocessing: Preprocessing, kind: str, threads: int = 1
) -> Race:
    """Times two models on one picture, uint8 ``(1, H, W, 3)``, in turns, until it is clear which is faster.

    ``ROUNDS`` of them, or as many as ``SECONDS`` take; up to ``HEATS`` times as many where that does not tell.
    """
    rounds = _rounds([first, second], feed(picture, preprocessing, kind), time.perf_counter, threads, RUNS)
    taken: list[list[float]] = []
    for _ in range(HEATS):
        taken += _some(rounds, SECONDS)
        found = Race(tuple(a for a, _ in taken), tuple(b for _, b in taken), threads)
        if found.outcome != "unclear":
            break
    return found


def cpu_seconds(contents: Sequence[bytes], picture: np.ndarray, preprocessing: Preprocessing, kind: str) -> list[float]:
    """The median processor seconds of one picture on one thread for each model, turn by turn.

    What this thread computed, not what it waited: other programs on the machine hardly move it.
    """
    rounds = _rounds(contents, feed(picture, preprocessing, kind), time.thread_time)
    return [float(np.median(kept)) for kept in zip(*_some(rounds, SHORT_SECONDS), strict=True)]


def _rounds(
    contents: Sequence[bytes], x: np.ndarray, clock: Callable[[], float], threads: int = 1, runs: int = 1
) -> Iterator[list[float]]:
    """Seconds by ``clock`` of the last inference in each model's turn, round after round, without end.

    The first rounds are warm-up.
    """
    sessions = [open_session(content, threads=threads) for content in contents]
    names = [session.get_inputs()[0].name for session in sessions]
    for number in itertools.count():
        taken = []
        for session, name in zip(sessions, names, strict=True):
            begun = clock()
            for _ in range(runs):
                start = clock()
                session.run(None, {name: x})
                now = clock()
                if now - begun > TURN_SECONDS:
                    break
            taken.append(now - start)
        if number >= WARM_UP:
            yield taken


def _some(rounds: Iterator[list[float]], limit_s: float) -> list[list[float]]:
    """``ROUNDS`` of them, or as many as ``limit_s`` holds, ``LEAST_ROUNDS`` at least."""
    begun = time.perf_counter()
    taken: list[list[float]] = []
    for _ in range(ROUNDS):
        if len(taken) >= LEAST_ROUNDS and time.perf_counter() - begun > limit_s:
            break
        taken.append(next(rounds))
    return taken
