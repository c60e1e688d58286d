"""Two models timed against each other, turn by turn, so that whatever else the machine does hits both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgexfer.export.golden import feed
from edgexfer.export.runtime import open_session
from edgexfer.preprocessing import Preprocessing

ROUNDS = 40
LEAST_ROUNDS = 7
SECONDS = 3.0
SHORT_SECONDS = 0.4
WARM_UP = 2
MOST_THREADS = 4


@dataclass(frozen=True)
class Race:
    """Seconds of every inference of one picture; medians are derived.

    Attributes:
        first_s: Of the first model.
        second_s: Of the second.
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
    def speedup(self) -> float:
        """How many times faster the second is: the ratio of the medians."""
        first, second = self.medians_s
        return first / second


def thread_counts() -> tuple[int, ...]:
    """One thread, and one for each usable core, ``MOST_THREADS`` at most; only the one where there is one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (1,) if cores == 1 else (1, min(cores, MOST_THREADS))


def race(
    first: bytes, second: bytes, picture: np.ndarray, preprocessing: Preprocessing, kind: str, threads: int = 1
) -> Race:
    """Times two models on one picture, uint8 ``(1, H, W, 3)``, alternating, for ``ROUNDS`` rounds or ``SECONDS``."""
    times = _turns([first, second], feed(picture, preprocessing, kind), time.perf_counter, SECONDS, threads)
    return Race(tuple(times[0]), tuple(times[1]), threads)


def cpu_seconds(contents: Sequence[bytes], picture: np.ndarray, preprocessing: Preprocessing, kind: str) -> list[float]:
    """The median processor seconds of one picture on one thread for each model, turn by turn.

    What this thread computed, not what it waited: other programs on the machine hardly move it.
    """
    times = _turns(contents, feed(picture, preprocessing, kind), time.thread_time, SHORT_SECONDS)
    return [float(np.median(kept)) for kept in times]


def _turns(
    contents: Sequence[bytes], x: np.ndarray, clock: Callable[[], float], limit_s: float, threads: int = 1
) -> list[list[float]]:
    """Seconds of each inference by ``clock``, model by model; turn by turn, for ``ROUNDS`` rounds or ``limit_s``."""
    sessions = [open_session(content, threads=threads) for content in contents]
    times: list[list[float]] = [[] for _ in sessions]
    begun = time.perf_counter()
    for number in range(WARM_UP + ROUNDS):
        if number >= WARM_UP + LEAST_ROUNDS and time.perf_counter() - begun > limit_s:
            break
        for session, kept in zip(sessions, times, strict=True):
            start = clock()
            session.run(None, {session.get_inputs()[0].name: x})
            if number >= WARM_UP:
                kept.append(clock() - start)
    return times
