"""Two models timed against each other: what the rounds tell, and when they tell nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from edgexfer.export import speed
from edgexfer.export.speed import HEATS, LEAST_ROUNDS, ROUNDS, RUNS, WARM_UP, Outcome, Race, race, thread_counts
from edgexfer.preprocessing import Preprocessing


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (64, (1, 4))])
def test_all_cores_are_four_at_most(cores: int, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert thread_counts() == counts


@pytest.mark.parametrize("rounds", [1, 7, 8, 20, 40, 160])
def test_the_interval_holds_the_median_as_often_as_it_says(rounds: int) -> None:
    rng = np.random.default_rng(rounds)
    held = 0
    for first in np.exp(rng.laplace(size=(400, rounds))):
        low, high = Race(tuple(first), (1.0,) * rounds).interval
        held += low <= 1 <= high
    assert held >= 0.98 * 400  # where each holds it with 99%, fewer than 392 of 400 do so two times in a hundred
    assert (low, high) == (0.0, math.inf) if rounds < LEAST_ROUNDS else 0 < low < high < math.inf


@pytest.mark.parametrize(
    ("ratio", "noise", "outcome"),
    [
        (2.0, 0.0, "faster"),
        (2.0, 0.5, "faster"),
        (0.5, 0.5, "slower"),
        (1.0, 0.01, "same"),
        (1.03, 0.002, "same"),
        (0.97, 0.002, "same"),
        (1.1, 1.0, "unclear"),
    ],
)
def test_noise_is_told_from_a_difference(ratio: float, noise: float, outcome: Outcome) -> None:
    rng = np.random.default_rng(0)
    first, second = np.exp(noise * rng.standard_normal((2, ROUNDS)))
    assert Race(tuple(ratio * first), tuple(second)).outcome == outcome


def test_what_slows_both_turns_of_a_round_counts_out() -> None:
    slowed = np.where(np.arange(20) % 3, 1.0, 7.0)
    timed = Race(tuple(1.2 * slowed), tuple(1.0 * slowed))
    assert timed.speedup == pytest.approx(1.2) and timed.interval == pytest.approx((1.2, 1.2))


@pytest.mark.parametrize(("spread", "heats"), [(0.0, 1), (3.0, HEATS)])
def test_it_goes_on_where_it_cannot_tell(spread: float, heats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)

    def rounds(*given: object) -> Iterator[list[float]]:
        while True:
            yield [1.5 * math.exp(spread * rng.choice([-1, 1])), 1.4]

    monkeypatch.setattr(speed, "_rounds", rounds)
    timed = race(b"", b"", np.zeros((1, 8, 8, 3), np.uint8), Preprocessing((8, 8), None, "none"), "uint8")
    assert len(timed.first_s) == len(timed.second_s) == heats * ROUNDS
    assert timed.outcome == ("faster" if heats == 1 else "unclear")


class Session:
    """One whose inferences take a while each by a clock of their own; three times as long after another session's."""

    now = 0.0
    ran: ClassVar[list[Session]] = []

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x")]

    def run(self, outputs: None, given: dict[str, np.ndarray]) -> None:
        Session.now += self.seconds * (1 if self.ran[-1:] == [self] else 3)
        self.ran.append(self)


@pytest.mark.parametrize(("seconds", "runs", "timed"), [(0.001, RUNS, 0.001), (0.02, 1, 0.06)])
def test_a_race_times_what_finds_its_weights_in_the_caches(
    seconds: float, runs: int, timed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "open_session", lambda content, threads: Session(seconds))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: Session.now)
    monkeypatch.setattr(speed, "SECONDS", 1e9)
    Session.ran.clear()
    found = race(b"", b"", np.zeros((1, 8, 8, 3), np.uint8), Preprocessing((8, 8), None, "none"), "uint8")
    assert len(Session.ran) == 2 * runs * (ROUNDS + WARM_UP)
    assert found.first_s == pytest.approx([timed] * ROUNDS) and found.second_s == pytest.approx([timed] * ROUNDS)
