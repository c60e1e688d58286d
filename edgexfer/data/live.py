"""Pictures that are decoded anew whenever they are asked for, where all of them decoded would not fit on the disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgexfer.data.index import parallel
from edgexfer.data.prepare import resized, resized_size
from edgexfer.data.store import DEFAULT_LIMIT_BYTES, Pixels, pixels_folder, same_rule
from edgexfer.data.views import View
from edgexfer.preprocessing import Preprocessing

SHARE_OF_DISK = 0.8
"""Share of the free space that decoded pictures may take."""
SAMPLED = 64
_WIDEST = 4
"""Few pictures are so many times as wide as high; where even that would fit, none is looked at."""


@dataclass(frozen=True)
class LiveStore:
    """The pictures of a view after the resize rule, byte by byte those of a ``PackedStore``, and none of them kept.

    Attributes:
        view: The pictures.
        preprocessing: The rule.
    """

    view: View
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int) -> Pixels:
        return resized(self.view.read(int(index)), self.preprocessing)

    def take(self, indices: Sequence[int]) -> list[Pixels]:
        """Several pictures, decoded in threads."""
        return list(parallel(self.__getitem__, indices))

    def same_rule(self, preprocessing: Preprocessing) -> bool:
        """Whether these pixels serve ``preprocessing`` too."""
        return same_rule(self.preprocessing, preprocessing)


@dataclass(frozen=True)
class Room:
    """What the decoded pictures of a view would take, and what there is.

    Attributes:
        folder: Where they would lie.
        needed_bytes: About their size.
        free_bytes: Free space there.
    """

    folder: Path
    needed_bytes: int
    free_bytes: int

    @property
    def is_enough(self) -> bool:
        """Whether they may lie there; few enough stay in memory."""
        return self.needed_bytes <= max(DEFAULT_LIMIT_BYTES, SHARE_OF_DISK * self.free_bytes)


def room_for(view: View, preprocessing: Preprocessing) -> Room:
    """Room for the pictures of a view; their size is estimated from a sample where it matters."""
    folder = pixels_folder() or Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    height, width = preprocessing.input_size
    least = 3 * len(view) * (height * width if preprocessing.resize is None else preprocessing.resize**2)
    room = Room(folder, least, free)
    if preprocessing.resize is None or Room(folder, _WIDEST * least, free).is_enough or not room.is_enough:
        return room
    sample = np.linspace(0, len(view) - 1, min(SAMPLED, len(view))).astype(int)
    areas = [np.prod(resized_size(view.read(int(index)).size, preprocessing)) for index in sample]
    return Room(folder, int(3 * len(view) * np.mean(areas)), free)
