"""What ``edgexfer distill`` makes of its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgexfer.cli.main import cli
from edgexfer.errors import DataError

STUDENTS = ("--student", "tiny-darknet", "--student", "cifar-resnet20")


def run(tmp_path: Path, *arguments: str) -> Result:
    command = ["distill", "digits", "--teacher", "resnet18", "--out", str(tmp_path / "out"), *arguments]
    return CliRunner().invoke(cli, command, prog_name="edgexfer")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the workflow was asked for, which then ends."""
    kept: dict[str, Any] = {}

    def distill_data(data: Any, students: Any, *others: Any) -> None:
        kept.update(students=students, teaching=others[-1])
        raise DataError("asked")

    monkeypatch.setattr("edgexfer.workflows.distill.distill_data", distill_data)
    return kept


@pytest.mark.parametrize(
    ("given", "weights"),
    [((), ["none", "none"]), (("imagenet",), ["imagenet", "imagenet"]), (("runs/a", "none"), ["runs/a", "none"])],
)
def test_each_student_has_its_own_first_weights(
    tmp_path: Path, asked: dict[str, Any], given: tuple[str, ...], weights: list[str]
) -> None:
    options = [word for one in given for word in ("--student-weights", one)]
    assert "Error: asked" in run(tmp_path, *STUDENTS, *options).stderr
    assert [start.weights for start in asked["students"]] == weights
    assert [start.model for start in asked["students"]] == ["tiny-darknet", "cifar-resnet20"]


def test_weights_that_do_not_pair_are_refused(tmp_path: Path) -> None:
    options = [word for one in "abc" for word in ("--student-weights", one)]
    said = run(tmp_path, *STUDENTS, *options)
    assert said.exit_code == 1
    assert "2 --student and 3 --student-weights were given; they pair in order, so give one for each" in said.stderr


def test_a_size_for_teachers_reaches_them(tmp_path: Path, asked: dict[str, Any]) -> None:
    run(tmp_path, *STUDENTS, "--teacher-image-size", "96", "--teacher-epochs", "3")
    wishes = asked["teaching"].teacher_recipe
    assert (wishes.image_size, wishes.epochs) == (96, 3)
