"""The timing loop: one inference after the other, each with its own time on a clock that never jumps.

Between two inferences the loop reads the clock twice, compares and appends: well under a microsecond. The garbage
collector is off meanwhile. Once a second, between two inferences, the sensors are read.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List

SECOND = 1_000_000_000
STEP = 5  # inferences a warm-up window


@dataclass(frozen=True)
class Warmup:
    """How the warm-up went: inferences, seconds, and whether the time an inference takes had settled."""

    runs: int
    seconds: float
    stable: bool

    def to_dict(self) -> Dict[str, Any]:
        """The value as a result holds it."""
        return {"runs": self.runs, "seconds": self.seconds, "stable": self.stable}


def warm_up(run: Callable[[], Any], limit_s: float, within: float = 0.05) -> Warmup:
    """Runs until the medians of two windows of five inferences in a row differ by less than ``within``.

    Args:
        run: One inference.
        limit_s: Seconds after which it goes on anyway.
        within: Relative difference that counts as settled.
    """
    clock = time.perf_counter
    started = clock()
    before = 0.0
    runs = 0
    while True:
        window: List[float] = []
        while len(window) < STEP and (not window or clock() - started < limit_s):
            begun = clock()
            run()
            window.append(clock() - begun)
        runs += len(window)
        median = sorted(window)[len(window) // 2]
        stable = len(window) == STEP and before > 0 and abs(median - before) <= within * before
        if stable or clock() - started >= limit_s:
            return Warmup(runs, clock() - started, stable)
        before = median


def time_runs(
    run: Callable[[], Any],
    nanoseconds: List[int],
    *,
    min_seconds: float,
    min_runs: int,
    between: Callable[[], Any] = lambda: None,
    every_s: float = 1.0,
) -> None:
    """Times ``run`` until both the minimum time and the minimum count are met.

    Args:
        run: One inference.
        nanoseconds: Filled with the time of each; what is in there is good even when an exception ends the loop.
        min_seconds: Lasts at least this long.
        min_runs: And at least this many inferences.
        between: Called between two inferences, outside their times, every ``every_s`` seconds.
        every_s: See ``between``.
    """
    clock = time.perf_counter_ns
    append = nanoseconds.append
    every = int(every_s * SECOND)
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = clock()
        end = began + int(min_seconds * SECOND)
        pause = began + every
        while True:
            before = clock()
            run()
            after = clock()
            append(after - before)
            if after >= pause:
                between()
                pause = clock() + every
            if after >= end and len(nanoseconds) >= min_runs:
                return
    finally:
        if was_enabled:
            gc.enable()


def overhead_s(calls: int = 2000) -> float:
    """What the loop itself adds to an inference: the median time of doing nothing, in seconds."""
    nanoseconds: List[int] = []
    time_runs(lambda: None, nanoseconds, min_seconds=0.0, min_runs=calls)
    return sorted(nanoseconds)[len(nanoseconds) // 2] / SECOND
