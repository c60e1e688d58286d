"""What a teacher said of each picture in each view, kept on the disk between epochs and between runs.

One folder a teacher and data set, under ``teachers/`` of the cache folder, named by a key over everything that decides
the outputs: the teacher's weights and preprocessing, the order of the classes, the pictures' content, how they are
varied, and the arithmetic; not by names and places. Inside are ``about.json`` and one memory-mapped file a view: a
check for each picture, then its row (see ``packing``). A view's file is allocated whole before it is written, so that a
full disk is met as an error and not as a crash; rows appear in it as they are computed, in any order, by any number of
processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.data.index import cache_folder
from edgexfer.distill.packing import Words, checks, pack, unpack, words_a_row
from edgexfer.errors import FormatError
from edgexfer.files import FORMAT, read_json, remove, reserve, to_json, write_json

ABOUT_FILE = "about.json"
_VIEW_FILES = "view-*.bin"
_WHAT = "cache of teacher outputs"
Indices = NDArray[np.int64]


def outputs_folder() -> Path:
    """Where all teachers' outputs are kept."""
    return cache_folder() / "teachers"


def view_bytes(images: int, classes: int) -> int:
    """Size of one view's file."""
    return images * 2 * (1 + words_a_row(classes))


@dataclass(frozen=True)
class KeptOutputs:
    """A folder of kept outputs, as it describes itself.

    Attributes:
        folder: Where it lies.
        facts: Everything that decides the outputs.
    """

    folder: Path
    facts: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        """Of its views, which are allocated whole."""
        size = 0
        for path in self.folder.glob(_VIEW_FILES):
            with contextlib.suppress(OSError):  # it may vanish while it is looked at
                size += path.stat().st_size
        return size


def kept_with(facts: Mapping[str, Any]) -> Iterator[KeptOutputs]:
    """All that is kept whose facts hold these."""
    for path in sorted(outputs_folder().glob(f"*/{ABOUT_FILE}")):
        with contextlib.suppress(FormatError):
            known = read_json(path, _WHAT).get("facts")
            if isinstance(known, dict) and all(known.get(key) == value for key, value in facts.items()):
                yield KeptOutputs(path.parent, known)


@dataclass(frozen=True)
class View:
    """One mapped file.

    Attributes:
        checks: uint16 ``(N,)``; 0 where nothing is known.
        rows: uint16 ``(N, W)``.
    """

    checks: Words
    rows: Words


class OutputCache:
    """The outputs of one teacher for one set of pictures.

    Args:
        facts: Everything that decides the outputs, as JSON holds it.
        images: Number of pictures.
        classes: K.
        names: What a list of the cache shows of it, which decides nothing.
        warn: Told why nothing more can be kept, once that is so.

    Attributes:
        folder: Where it lies.
        writable: Off once the disk is full or forbids it; what is there is still read.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        images: int,
        classes: int,
        *,
        names: Mapping[str, str] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.images, self.classes = images, classes
        self.folder = outputs_folder() / hashlib.sha256(to_json(facts).encode("utf-8")).hexdigest()[:32]
        self.writable = True
        self._facts, self._names, self._warn = dict(facts), dict(names or {}), warn
        self._views: dict[int, View] = {}
        self._discard_other()

    @property
    def kept(self) -> KeptOutputs:
        """What is there now."""
        return KeptOutputs(self.folder, self._facts)

    def read(self, view: int, indices: Indices) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        """What is known of some pictures in a view.

        Returns:
            Log-probabilities float32 ``(N, K)``, meaningless where unknown, and which are known, ``(N,)``.
        """
        mapped = self._view(view, make=False)
        if mapped is None:
            return torch.zeros(len(indices), self.classes), np.zeros(len(indices), dtype=np.bool_)
        rows = mapped.rows[indices]
        return unpack(rows, self.classes), mapped.checks[indices] == checks(rows)

    def write(self, view: int, indices: Indices, logits: torch.Tensor) -> torch.Tensor:
        """Keeps the outputs of some pictures.

        Returns:
            The outputs as they will be read again, float32 ``(N, K)``.
        """
        rows = pack(logits)
        mapped = self._view(view, make=True)
        if mapped is not None and mapped.rows.flags.writeable:
            mapped.checks[indices] = 0
            mapped.rows[indices] = rows
            mapped.checks[indices] = checks(rows)
        elif mapped is not None:
            self._keep_no_more("what is there may only be read")
        return unpack(rows, self.classes)

    def known(self, view: int) -> Indices:
        """The pictures whose outputs in a view are known and undamaged."""
        mapped = self._view(view, make=False)
        if mapped is None:
            return np.zeros(0, dtype=np.int64)
        written = np.flatnonzero(mapped.checks)
        whole: Indices = written[mapped.checks[written] == checks(mapped.rows[written])]
        return whole

    def clear(self) -> None:
        """Forgets everything."""
        self._views.clear()
        remove(self.folder)

    def _discard_other(self) -> None:
        """Removes what lies in the folder but was not made from these facts: a damaged or foreign one.

        A folder that does not describe itself yet is being made by another process.
        """
        if not (self.folder / ABOUT_FILE).is_file():
            return
        about: dict[str, Any] = {}
        with contextlib.suppress(FormatError):
            about = read_json(self.folder / ABOUT_FILE, _WHAT)
        if about.get("facts") != self._facts or about.get("images") != self.images:
            with contextlib.suppress(OSError):
                remove(self.folder)

    def _view(self, number: int, *, make: bool) -> View | None:
        if number not in self._views:
            path = self.folder / f"view-{number:05d}.bin"
            size = view_bytes(self.images, self.classes)
            try:
                whole = path.is_file() and path.stat().st_size == size
                if not whole:
                    if not make or not self.writable:
                        return None
                    self._allocate(path, size)
                self._views[number] = self._mapped(path)
            except OSError as error:
                self._keep_no_more(str(error.strerror or error))
                return None
        return self._views[number]

    def _keep_no_more(self, why: str) -> None:
        if self.writable and self._warn is not None:
            self._warn(
                f"what the teachers say cannot be kept in {str(self.folder.parent)!r} ({why}), so they answer again in"
                " every epoch; free space, or set EDGEXFER_CACHE to a folder on another disk"
            )
        self.writable = False

    def _allocate(self, path: Path, size: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / ABOUT_FILE).is_file():
            about = {"facts": self._facts, "names": self._names, "images": self.images, "classes": self.classes}
            write_json(self.folder / ABOUT_FILE, {"format": FORMAT, **about})
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as stream:
                reserve(stream.fileno(), size)
            _take_place(part, path, size)
        finally:
            part.unlink(missing_ok=True)

    def _mapped(self, path: Path) -> View:
        writable = self.writable and os.access(path, os.W_OK)
        words = np.memmap(path, dtype=np.uint16, mode="r+" if writable else "r")
        return View(words[: self.images], words[self.images :].reshape(self.images, words_a_row(self.classes)))


def _take_place(part: Path, path: Path, size: int) -> None:
    """Puts an empty file in its place, unless another process was quicker, whose rows are not to be lost."""
    if path.is_file() and path.stat().st_size != size:
        path.unlink(missing_ok=True)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    except OSError:  # a disk without hard links
        part.replace(path)
