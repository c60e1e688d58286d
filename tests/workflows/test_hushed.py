from __future__ import annotations

from pathlib import Path

from edgexfer.workflows.hushed import Hushed, Once
from tests.heard import Heard


class Everything(Heard):
    def training(self, run: Path, epochs: int) -> None:
        self.lines.append(f"training {run}")

    def begin(self, title: str, total: int) -> None:
        self.lines.append(f"begin {title}")

    def advance(self, done: int, note: str) -> None:
        self.lines.append(f"advance {done}")

    def end(self) -> None:
        self.lines.append("end")

    def epoch(self, metrics: object) -> None:
        self.lines.append("epoch")


def tell(listener: Once) -> None:
    listener.say("a sentence")
    listener.training(Path("run"), 2)
    listener.begin("work", 1)
    listener.advance(1, "")
    listener.epoch({})
    listener.end()
    listener.warn("beware")
    listener.warn("beware")


def test_everything_is_passed_on_and_the_same_warning_once() -> None:
    heard = Everything()
    told = ["a sentence", "training run", "begin work", "advance 1", "epoch", "end"]
    once = Once(heard)
    tell(once)
    assert heard.lines == [*told, "WARNING beware"]
    tell(once)
    assert heard.lines == [*told, "WARNING beware", *told]


def test_of_work_inside_other_work_neither_sentences_nor_epochs_are_told() -> None:
    heard = Everything()
    once = Once(heard)
    for _ in range(2):
        heard.lines.clear()
        tell(Hushed(once))
    assert heard.lines == ["training run", "begin work", "advance 1", "end"], "what was warned of before is known"
