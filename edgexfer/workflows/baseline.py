"""The student of a distillation without its teacher: what it gets, and how that differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgexfer.data import Splits
from edgexfer.training import Recipe, Settings

_PASSES = ("epochs", "warmup_epochs", "patience")
"""Counted in passes over the pictures, of which those without labels are not the baseline's."""


def baseline_recipe(recipe: Recipe, students: Settings, taught: Splits, labelled: Splits) -> Recipe:
    """The wishes for the same student on the labelled pictures alone: as many steps, defaults that suit hard labels.

    It is stopped early no sooner than the student is, or more steps would pass for the teacher's doing.

    Args:
        recipe: The wishes for the student.
        students: What became of them.
        taught: What the student learns from.
        labelled: The same without the pictures that have no label.
    """
    times = len(taught.train) / len(labelled.train)
    return replace(
        recipe,
        image_size=students.image_size,
        batch_size=students.batch_size,
        epochs=round(students.epochs * times),
        patience=round(students.patience * times),
    )


def about_baseline(students: Settings, own: Settings) -> str:
    """What the baseline has in common with the student, and every setting in which it is another."""
    before, now = students.to_dict(), own.to_dict()
    others = [key for key in now if key not in _PASSES and now[key] != before[key]]
    told = ", ".join(f"{key} {_shown(now[key])} (student: {_shown(before[key])})" for key in others)
    same = "hard-label baseline: the same student and seed, as many steps at most, without the teacher"
    return f"{same}; as suits hard labels {told}" if told else same


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
