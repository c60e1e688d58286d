"""Which data a command works on, and parts of it as a network is fed them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.data import Splits, View, build_store, eval_pixels, load_splits
from edgexfer.data.named import named_sets
from edgexfer.data.scan import find_splits
from edgexfer.data.sources import DIGITS
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing
from edgexfer.training import Listener, Silent

RULES = ("val_split", "test_split", "group_by", "seed")
"""What of a choice decides how the data is cut."""
DECODED = 256
"""Pictures that are decoded at once, so that all cores have work; at least those of one batch."""


@dataclass(frozen=True)
class DataChoice:
    """What a user says of the data.

    Attributes:
        source: ``digits``, a folder, or a torchvision set by name.
        data_root: Where torchvision's sets lie.
        download: Whether a missing set may be downloaded.
        strict: Whether a single unreadable picture ends the run.
        val_split: Share of pictures held out for validation, where no folder says so.
        test_split: Share of pictures held out for the test, where no folder says so.
        group_by: Regular expression on file names; files with the same match stay on one side of a split.
        seed: Of the split.
        cut_as_said: Whether the last four are the user's word also where they are what they are without one.
    """

    source: str
    data_root: str | None = None
    download: bool = False
    strict: bool = False
    val_split: float = 0.15
    test_split: float = 0.15
    group_by: str | None = None
    seed: int = 0
    cut_as_said: bool = False

    @property
    def says_how_to_cut(self) -> bool:
        """Whether the user says how the data is cut, so that no run's way of it is to be taken."""
        return self.cut_as_said or self.rules != DataChoice(self.source).rules

    @property
    def rules(self) -> dict[str, Any]:
        """What decides how the data is cut."""
        return {name: getattr(self, name) for name in RULES}

    def paths(self) -> list[Path]:
        """Where the pictures lie, as far as they lie in a folder that the user names."""
        is_folder = self.source not in (DIGITS, *named_sets())
        return [Path(name) for name in (self.source if is_folder else None, self.data_root) if name]

    def refuse_among_pictures(self, out: Path) -> None:
        """Refuses a place in the data's own folder where what is written would count as a class from then on.

        Raises:
            DataError: It is one.
        """
        if self.source in (DIGITS, *named_sets()):
            return
        root, place = Path(self.source).resolve(), out.resolve()
        if not root.is_dir() or root not in place.parents:
            return
        top, splits = place.relative_to(root).parts[0], find_splits(root).values()
        if not top.startswith(".") and (not splits or top in splits):
            raise DataError(
                f"{str(out)!r} lies among the pictures of {self.source!r}, where it would count as a class the next"
                " time; choose an --out elsewhere"
            )

    def load(self, listener: Listener | None = None) -> Splits:
        """The splits, see ``edgexfer.data.load_splits``; ``listener`` hears how far the looking through them is."""
        hears = Silent() if listener is None else listener

        def look(done: int, pictures: int) -> None:
            if done == 1:
                hears.begin("look at the pictures", pictures)
            hears.advance(done, "")

        try:
            return load_splits(**self._named(), progress=look)
        finally:
            hears.end()

    def _named(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "cut_as_said"}

    def record(self, command: str, argv: list[str]) -> dict[str, Any]:
        """How a run's recipe names the data and the command that was typed."""
        path = Path(self.source)
        place = str(path.resolve()) if path.is_dir() else None
        root = str(Path(self.data_root).resolve()) if self.data_root else None
        choice = {**self._named(), "data_root": root}
        del choice["download"]
        return {
            "command": command,
            "argv": argv,
            "data": self.source,
            "data_path": place,
            "data_root": root,
            "choice": choice,
        }


def held_out(splits: Splits) -> View:
    """The view that figures are reported on: test where there is one, else validation."""
    return splits.val if splits.test is None else splits.test


def spread_sample(view: View, count: int) -> View:
    """At most ``count`` pictures of a view, evenly over its classes and always the same ones."""
    if len(view) <= count:
        return view
    rank = np.zeros(len(view), dtype=np.int64)
    for label in np.unique(view.labels):
        members = np.flatnonzero(view.labels == label)
        rank[members] = np.arange(len(members))
    chosen = np.sort(np.lexsort((view.labels, rank))[:count])
    return take(view, chosen)


def take(view: View, indices: np.ndarray) -> View:
    """The pictures of ``view`` at ``indices``, in that order."""
    read, tie = view.read, view.tie
    return dataclasses.replace(
        view,
        files=tuple(view.files[i] for i in indices),
        labels=view.labels[indices],
        digests=tuple(view.digests[i] for i in indices),
        tie=None if tie is None else lambda: tie()[indices],
        read=lambda i: read(int(indices[i])),
    )


def in_batches(view: View, preprocessing: Preprocessing, size: int = 32) -> Iterator[np.ndarray]:
    """The input pixels of a view, uint8 ``(n, H, W, 3)``, decoded as they are asked for, ``DECODED`` at once."""
    ahead = max(size, DECODED // size * size)
    for start in range(0, len(view), ahead):
        part = take(view, np.arange(start, min(start + ahead, len(view))))
        store = build_store(part, preprocessing)
        for begin in range(0, len(part), size):
            yield eval_pixels(store, range(begin, min(begin + size, len(part))), preprocessing).numpy()
