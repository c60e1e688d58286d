"""Who is tried in which order, and who is still in the ranking, where the time of a search does not reach for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgexfer.results import Budget
from edgexfer.training import Recipe
from edgexfer.workflows import contest as contests
from edgexfer.workflows import halving
from edgexfer.workflows.contest import EXPORT_S, Contest
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching
from edgexfer.workflows.halving import Clock
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.shapes import Shape
from edgexfer.workflows.trace import Trace
from edgexfer.workflows.train import Target
from edgexfer.workflows.tried import dropped
from tests.heard import Heard


class Pretended(Clock):
    """A clock that only trainings move."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s / 3600, 0.0)
        self.now = 0.0

    @property
    def spent(self) -> float:
        return self.now


def contest(
    folder: Path,
    limit_s: float,
    work: Mapping[Shape, float],
    top1: Mapping[Shape, float],
    monkeypatch: Any,
    epochs: int = 18,
) -> tuple[Contest, Trace]:
    """A contest of two finalists in which an epoch takes as many seconds as a shape has operations."""
    trace, clock = Trace(folder, {}), Pretended(limit_s)
    clock.now = trace.seconds
    splits = SimpleNamespace()

    def train(self: Contest, shape: Shape, epochs: int, which: str) -> dict[str, Any]:
        seconds = work[shape] * epochs
        clock.now += seconds
        line = {"step": "train", "shape": shape.name, "epochs": epochs, "val_top1": top1[shape]}
        trace.add([{**line, "operations": work[shape], "seconds": seconds}])
        return trace.all("train")[-1]

    monkeypatch.setattr(Contest, "_train", train)
    for module in (contests, halving):
        monkeypatch.setattr(module, "FINALISTS", 2)
    monkeypatch.setattr(Contest, "_operations", lambda self, shape: work[shape])
    monkeypatch.setattr(Contest, "_make_teachers", lambda self: None)
    plan = SearchPlan(DataChoice("nowhere"), (), Budget(), recipe=Recipe(epochs=epochs))
    return Contest(plan, splits, trace, clock, Heard()), trace  # type: ignore[arg-type]


def nine() -> tuple[list[Shape], dict[Shape, float], dict[Shape, float]]:
    """Shapes with their operations and accuracies: the second is the best, the last one good and by far the largest."""
    shapes = [Shape(f"net{number}", 32) for number in range(1, 10)]
    work = {shape: float(number) for number, shape in enumerate(shapes, 1)} | {shapes[8]: 30.0}
    top1 = dict.fromkeys(shapes, 0.1) | {shapes[1]: 0.9, shapes[8]: 0.8, shapes[0]: 0.7}
    return shapes, work, top1


def test_in_every_round_the_cheapest_come_first_and_nobody_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, work, top1 = nine()
    made, trace = contest(tmp_path, 540.0, work, top1, monkeypatch)
    ranked = made.rank(shapes, lambda: None)
    second = [line["shape"] for line in trace.all("train") if line["epochs"] == 6]
    assert second == ["net1@32", "net2@32"], "for net9, second best so far, there is no time left"
    assert ranked[:3] == [shapes[1], shapes[0], shapes[8]]
    assert sorted(ranked) == sorted(shapes)
    reasons = {line["shape"]: line["reason"] for line in trace.all("drop")}
    assert reasons["net9@32"] == "no time left to try it" and reasons["net5@32"].endswith("not among the best")


def test_without_short_trainings_the_largest_are_the_most_promising(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [Shape(f"net{number}", 32) for number in (2, 1, 4, 3)]
    work = dict(zip(shapes, (2.0, 1.0, 4.0, 3.0), strict=True))
    made, trace = contest(tmp_path, 540.0, work, dict.fromkeys(shapes, 0.5), monkeypatch, epochs=4)
    assert made.rank(shapes, lambda: None) == [shapes[2], shapes[3], shapes[0], shapes[1]]
    assert not trace.all("train")


def test_who_was_never_tried_stands_before_who_was_and_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [Shape(f"net{number}", 32) for number in range(1, 6)]
    work = {shape: float(number) for number, shape in enumerate(shapes, 1)}
    top1 = dict(zip(shapes, (0.5, 0.1, 0.6, 0.9, 0.9), strict=True))
    made, _ = contest(tmp_path, 4 * 13.0, work, top1, monkeypatch)
    assert made.rank(shapes, lambda: None) == [shapes[2], shapes[0], shapes[3], shapes[4], shapes[1]]


def test_each_training_keeps_the_command_and_hears_of_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ("edgexfer", "choose", "--search", "flowers", "--teacher", "t", "--budget-ms", "9", "--out", "o")
    told: list[tuple[Target, Teaching]] = []

    def distilled(*arguments: Any) -> list[Any]:
        told.append((arguments[4], arguments[6]))
        return [SimpleNamespace(student=SimpleNamespace(scores={"val_top1": 0.5}))]

    monkeypatch.setattr("edgexfer.workflows.contest.distill_data", distilled)
    monkeypatch.setattr(Contest, "_operations", lambda self, shape: 1.0)
    plan = SearchPlan(DataChoice("flowers"), (), Budget(), recipe=Recipe(epochs=1), argv=typed, names_file=Path("n"))
    made = Contest(plan, SimpleNamespace(), Trace(tmp_path, {}), Pretended(9e9), Heard())  # type: ignore[arg-type]
    made.full(Shape("net", 32), needed=True)
    ((target, teaching),) = told
    assert target.argv == typed and teaching.names_file == Path("n")
    assert teaching.teachers_folder == tmp_path / "teachers" and teaching.teacher_recipe == plan.teacher_recipe


def test_with_more_time_a_student_that_was_cut_short_learns_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = Shape("net1", 32)

    line = {"step": "train", "shape": shape.name, "epochs": 2, "operations": 1.0, "seconds": 2.0}
    Trace(tmp_path, {}).add([line])

    def full(seconds: float, *, needed: bool = True) -> tuple[str, list[int]]:
        """The run that a search of so many seconds beside the export comes to, and the trainings it makes for it."""
        made, trace = contest(tmp_path, EXPORT_S + seconds, {shape: 1.0}, {shape: 0.5}, monkeypatch)
        before = len(trace.all("train"))
        trained = made.full(shape, needed=needed)
        assert trained is not None
        return trained.run.name, [line["epochs"] for line in trace.all("train")[before:]]

    assert full(2 + 11.5) == ("net1@32-11", [11])
    assert full(2 + 11.5) == ("net1@32-11", []), "what was planned stands"
    assert full(2 + 11 + 14.5) == ("net1@32-14", [14])
    assert full(2 + 11 + 14 + 16.5, needed=False) == ("net1@32-14", []), "too short for one that is not needed"
    assert full(9.0) == ("net1@32-14", [])
    assert full(99.0) == ("net1@32-18", [18])
    assert full(2 + 11.5) == ("net1@32-18", [])


def test_what_was_said_of_a_shape_that_is_tried_after_all_counts_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, work, top1 = nine()

    def reasons(seconds: float) -> dict[Shape, str]:
        made, trace = contest(tmp_path, seconds, work, top1, monkeypatch)
        made.rank(shapes, lambda: None)
        return {shape: dropped(trace, shape) for shape in shapes}

    short = reasons(540.0)
    assert (short[shapes[0]], short[shapes[8]]) == ("", "no time left to try it")
    assert reasons(540.0) == short
    enough = reasons(9000.0)
    assert (enough[shapes[0]], enough[shapes[8]]) == ("validation 70.0% after 6 epochs, not among the best", "")
    assert enough[shapes[4]] == short[shapes[4]]
    assert len(Trace(tmp_path, {}).all("drop")) == len(short) - 1, "each thing is said once"
