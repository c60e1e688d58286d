"""Room for the students of one command: what ``--force`` removes is removed at once, when nothing can be refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.training import Recipe
from edgexfer.training.ranks import current_ranks
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.replacing import read_within
from edgexfer.workflows.train import Start, Target


def used_by(
    data: DataChoice, students: Sequence[Start], teachers: Sequence[Start], others: Iterable[Path | None]
) -> list[Path]:
    """The files and folders that a distillation reads."""
    starts = [path for start in (*students, *teachers) for path in start.paths()]
    named = [Path(teacher.model) for teacher in teachers]
    return [*data.paths(), *starts, *named, *(path for path in others if path is not None)]


@dataclass(frozen=True)
class Room:
    """What has to go before the students' runs can be written.

    Attributes:
        students: Who is to learn.
        replaced: Where something is that ``--force`` removes.
    """

    students: tuple[Start, ...]
    replaced: tuple[Target, ...]

    @classmethod
    def found(cls, students: Sequence[Start], targets: Sequence[Target], teachers: Path, used: Sequence[Path]) -> Room:
        """The room for claimed targets; several students share ``teachers``, which lies beside their runs.

        A teachers' folder that the command reads stays: it is no student's, and what is made in it is told apart there.

        Raises:
            WouldOverwriteError: The teachers' folder is none of ours.
        """
        places = list(targets)
        renews = len(targets) > 1 and targets[0].force and not targets[0].resume
        if renews and not current_ranks().once(lambda: read_within(teachers, used)):
            shared = replace(targets[0], out=teachers)
            shared.claim(used)
            places.append(shared)
        return cls(tuple(students), tuple(place for place in places if place.replaces()))

    def check(self, splits: Splits, recipe: Recipe) -> None:
        """Meets what cannot be used of the students, where anything is to be removed for them.

        Raises:
            EdgexferError: A network or its weights cannot be used.
        """
        for student in self.students if self.replaced else ():
            size = nets.preprocessing_for(student.model, recipe.image_size).input_size
            nets.create(student.model, len(splits.classes), weights=student.weights, input_size=size)

    def make(self) -> None:
        """Removes what is in the way."""
        for place in self.replaced:
            place.make_room()
