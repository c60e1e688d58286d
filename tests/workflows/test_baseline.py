"""The hard-label baseline gets what the student gets, but the teacher and what suits soft labels alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgexfer.training import Recipe, Settings
from edgexfer.training.recipe import Facts, settle
from edgexfer.workflows.baseline import about_baseline, baseline_recipe
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target
from tests.heard import Heard


def settled(recipe: Recipe, images: int, *, is_taught: bool) -> Settings:
    return settle(recipe, Facts(images, (32, 32), 32, False, is_taught))[0]


def splits(images: int) -> Any:
    return SimpleNamespace(train=range(images))


@pytest.mark.parametrize("wishes", [{}, {"epochs": 60}, {"epochs": 20}, {"patience": 7}])
@pytest.mark.parametrize("labelled", [8_000, 2_000])
def test_it_may_take_as_many_steps_as_the_student(wishes: dict[str, int], labelled: int) -> None:
    recipe, images = Recipe(**wishes), 8_000
    student = settled(recipe, images, is_taught=True)
    alone = settled(baseline_recipe(recipe, student, splits(images), splits(labelled)), labelled, is_taught=False)
    times = images / labelled
    assert alone.batch_size == student.batch_size
    assert alone.epochs == student.epochs * times
    assert alone.patience == student.patience * times, "a student that is not stopped early is compared with its like"


def test_what_differs_is_said_and_nothing_else() -> None:
    recipe = Recipe(epochs=50)
    student, alone = (settled(recipe, 8_000, is_taught=is_taught) for is_taught in (True, False))
    assert about_baseline(student, replace(alone, patience=50)) == (
        "hard-label baseline: the same student and seed, as many steps at most, without the teacher; as suits hard"
        " labels lr 0.002 (student: 0.004), label_smoothing 0.1 (student: 0), mixup 0 (student: 0.5)"
    )
    assert about_baseline(student, student).endswith("without the teacher")


def test_the_log_says_it(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    heard = Heard()
    recipe = Recipe(epochs=2, batch_size=8, image_size=32, lr=0.01, mixup=0.0, label_smoothing=0.0, patience=1)
    (result,) = distill_data(
        DataChoice(str(colours)), [Start(small_net)], [Start(str(teacher))], recipe, Target(tmp_path / "out"), heard,
        Teaching(with_baseline=True),
    )  # fmt: skip
    said = "hard-label baseline: the same student and seed, as many steps at most, without the teacher"
    assert heard.lines.count(said) == 1
    assert result.baseline is not None and result.baseline.recipe["settings"]["patience"] == 1
