"""What a search is about: who teaches whom, on which pictures, for what the student may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.files import sha256_file
from edgexfer.results import Budget
from edgexfer.training import Recipe
from edgexfer.workflows.candidates import Wishes
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.measuring import Measuring
from edgexfer.workflows.room import used_by
from edgexfer.workflows.shapes import Shape
from edgexfer.workflows.train import Start


@dataclass(frozen=True)
class SearchPlan:
    """What a search is about.

    Attributes:
        data: What students learn from and are scored on.
        teachers: Who teaches them.
        budget: What the student may cost.
        wishes: Which latency the budget is about.
        measuring: Where latencies are measured.
        networks: The students' networks; ``NETWORKS`` if empty.
        sizes: Input sizes; some around that of the pictures if empty.
        recipe: Wishes for the trainings; ``epochs`` is that of the last, full one.
        hours: How long it may take in all, interruptions excluded; ``None`` for as long as it takes.
        target: The machine it is for, by name; ``None`` for this one.
        paths: Further artifacts, which are measured and scored beside the students at the end.
        argv: The command as it was typed, kept in each run.
        names_file: Class names of a teacher that is a weight file or a foreign ONNX file, one a line.
        teacher_size: Input side of teachers that do not say it, in pixels.
    """

    data: DataChoice
    teachers: tuple[Start, ...]
    budget: Budget
    wishes: Wishes = Wishes()
    measuring: Measuring = Measuring()
    networks: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    recipe: Recipe = Recipe()
    hours: float | None = None
    target: str | None = None
    paths: tuple[Path, ...] = ()
    argv: tuple[str, ...] = ()
    names_file: Path | None = None
    teacher_size: int | None = None

    @property
    def teacher_recipe(self) -> Recipe:
        """Wishes for the training of teachers given by name; its image size is also that of those at hand."""
        recipe = self.recipe
        return Recipe(self.teacher_size, workers=recipe.workers, device=recipe.device, seed=recipe.seed)

    def used(self) -> list[Path]:
        """The files and folders that a search reads."""
        students = [Start(network) for network in self.networks]
        return used_by(self.data, students, self.teachers, (*self.paths, self.names_file, self.measuring.ssh_config))

    def settings(self, shapes: Sequence[Shape], splits: Splits) -> dict[str, Any]:
        """What has to be the same when the search is gone on with; the time allowance may change."""
        budget = self.budget
        return {
            "data": self.data.source,
            "splits": splits.fingerprint,
            "teachers": [_told(start) for start in self.teachers],
            "teacher_classes": None if self.names_file is None else sha256_file(self.names_file),
            "teacher_size": self.teacher_size,
            "shapes": [shape.name for shape in shapes],
            "budget": [budget.latency_s, budget.size_bytes, budget.memory_bytes],
            "statistic": self.wishes.statistic,
            "host": self.measuring.host,
            "threads": self.measuring.threads,
            "target": self.target,
            "epochs": self.recipe.epochs,
            "batch_size": self.recipe.batch_size,
            "seed": self.recipe.seed,
        }


def _told(teacher: Start) -> list[Any]:
    """What is said of a teacher, as JSON holds it."""
    rule = [None if given is None else list(given) for given in (teacher.mean, teacher.std)]
    return [teacher.model, teacher.weights, *rule]
