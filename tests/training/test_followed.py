"""A training that is followed tells its listener everything, and its progress to whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgexfer.progress import ENDING, INTERRUPTED, TRAINING, Progress, read_progress
from edgexfer.training import Silent, followed
from edgexfer.training.followed import followed as follow


class Everything(Silent):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def say(self, text: str) -> None:
        self.heard.append(("say", text))

    def warn(self, text: str) -> None:
        self.heard.append(("warn", text))

    def training(self, run: Path, epochs: int) -> None:
        self.heard.append(("training", run.name, epochs))

    def begin(self, title: str, total: int) -> None:
        self.heard.append(("begin", title, total))

    def advance(self, done: int, note: str) -> None:
        self.heard.append(("advance", done, note))

    def end(self) -> None:
        self.heard.append(("end",))

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        self.heard.append(("epoch", metrics["epoch"]))


def now(run: Path) -> Progress:
    found = read_progress(run)
    assert found is not None
    return found


def test_the_listener_hears_everything_and_the_file_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "EVERY_S", 0.0)
    listener, run = Everything(), tmp_path / "run"
    with follow(run, 3, listener) as told:
        assert (now(run).state, now(run).epochs, now(run).epochs_done) == (TRAINING, 3, 0)
        told.say("a")
        told.warn("b")
        told.begin("epoch 2/3", 9)
        told.advance(4, "7 images/s")
        assert (now(run).step, now(run).steps, now(run).note) == (4, 9, "7 images/s")
        told.end()
        told.epoch({"epoch": 2})
        assert now(run).epochs_done == 2 and now(run).step == 0 and now(run).epoch_s is not None
        assert now(run).is_alive()
    assert now(run).state == ENDING
    wanted = [("training", "run", 3), ("say", "a"), ("warn", "b"), ("begin", "epoch 2/3", 9)]
    assert listener.heard == [*wanted, ("advance", 4, "7 images/s"), ("end",), ("epoch", 2)]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_an_interrupted_training_says_so(tmp_path: Path, kind: type[BaseException]) -> None:
    with pytest.raises(kind), follow(tmp_path, 3, Silent()):
        raise kind
    assert now(tmp_path).state == INTERRUPTED and not now(tmp_path).is_alive()


def test_steps_are_written_at_most_once_a_second(tmp_path: Path) -> None:
    with follow(tmp_path, 3, Silent()) as told:
        told.begin("epoch 1/3", 100)
        for step in range(100):
            told.advance(step + 1, "")
        assert now(tmp_path).step < 100
