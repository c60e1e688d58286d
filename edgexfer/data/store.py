"""Decoded pictures, scaled once and packed: in memory up to a limit, in a mapped file beyond it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.data.index import cache_folder, parallel
from edgexfer.data.prepare import center_crop, resized
from edgexfer.data.views import View
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]
DEFAULT_LIMIT_BYTES = 64 << 20
"""Beyond it pixels lie in a mapped file, which the system keeps in memory while it has room: as fast, and no burden."""


class PixelStore(Protocol):
    """Pictures after the resize rule, before the crop.

    ``store[i]`` is uint8 ``(h, w, 3)`` RGB, its shorter side scaled to ``preprocessing.resize`` (or the whole scaled to
    ``input_size`` where ``resize`` is ``None``).
    """

    @property
    def preprocessing(self) -> Preprocessing:
        """The rule it was built by."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pixels: ...

    def take(self, indices: Sequence[int]) -> list[Pixels]:
        """Several pictures."""

    def same_rule(self, preprocessing: Preprocessing) -> bool:
        """Whether the store's pixels serve ``preprocessing`` too: same resize rule and interpolation."""


def same_rule(mine: Preprocessing, other: Preprocessing) -> bool:
    """Whether two preprocessings scale alike: same resize rule and interpolation."""
    return (mine.resize, mine.interpolation) == (other.resize, other.interpolation) and (
        mine.resize is not None or mine.input_size == other.input_size
    )


class PackedStore:
    """A ``PixelStore`` whose pictures are packed, read-only, into one buffer.

    Attributes:
        preprocessing: The rule it was built by.
        mapped: Whether the pixels lie in a file instead of memory.
    """

    def __init__(self, packed: Pixels, sizes: NDArray[np.int64], preprocessing: Preprocessing, mapped: bool) -> None:
        self._packed = packed
        self._sizes = sizes
        self._ends = np.cumsum(sizes[:, 0] * sizes[:, 1] * 3, dtype=np.int64)
        self.preprocessing = preprocessing
        self.mapped = mapped

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Pixels:
        height, width = (int(n) for n in self._sizes[index])
        end = int(self._ends[index])
        return self._packed[end - height * width * 3 : end].reshape(height, width, 3)

    @property
    def size_bytes(self) -> int:
        """Bytes of pixels."""
        return int(self._ends[-1]) if len(self) else 0

    def take(self, indices: Sequence[int]) -> list[Pixels]:
        """Several pictures."""
        return [self[index] for index in indices]

    def same_rule(self, preprocessing: Preprocessing) -> bool:
        """Whether the store's pixels serve ``preprocessing`` too."""
        return same_rule(self.preprocessing, preprocessing)


def build_store(
    view: View,
    preprocessing: Preprocessing,
    *,
    progress: Callable[[int, int], None] | None = None,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> PackedStore:
    """Decodes and scales every picture of a view, in threads.

    Args:
        view: The pictures.
        preprocessing: Its resize rule and interpolation are applied; crop, mean and std are not.
        progress: Called with how many are done and how many there are.
        limit_bytes: Pixels beyond this go to a file under the cache folder, which vanishes with the process.

    Raises:
        DataError: A picture cannot be read any more, or the disk is full.
    """
    sizes = np.zeros((len(view), 2), dtype=np.int64)
    with _Packer(limit_bytes) as packer:
        for pixels in _decoded(view, preprocessing, sizes, progress):
            packer.add(pixels)
        packed = packer.packed()
    return PackedStore(packed, sizes, preprocessing, packer.spilled)


@dataclass(frozen=True)
class SharedStore:
    """A store in a file that several processes map.

    Attributes:
        path: The file; it may go when all have opened it.
        sizes: ``(H, W)`` of each picture, int64 ``(N, 2)``.
    """

    path: Path
    sizes: NDArray[np.int64]

    def open(self, preprocessing: Preprocessing) -> PackedStore:
        """The store, which was built by ``preprocessing``."""
        return PackedStore(np.memmap(self.path, dtype=np.uint8, mode="r"), self.sizes, preprocessing, True)


def share_store(
    view: View, preprocessing: Preprocessing, *, progress: Callable[[int, int], None] | None = None
) -> SharedStore:
    """As ``build_store``, into a file under the cache folder that other processes can open.

    Raises:
        DataError: A picture cannot be read any more, or the disk is full.
    """
    sizes = np.zeros((len(view), 2), dtype=np.int64)
    handle, name = tempfile.mkstemp(dir=pixels_folder(), prefix="edgexfer-shared-")
    try:
        with os.fdopen(handle, "wb") as stream:
            for pixels in _decoded(view, preprocessing, sizes, progress):
                stream.write(pixels.tobytes())
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _no_room(error) from error
        raise
    return SharedStore(Path(name), sizes)


def _decoded(
    view: View, preprocessing: Preprocessing, sizes: NDArray[np.int64], progress: Callable[[int, int], None] | None
) -> Iterator[Pixels]:
    """Every picture after the resize rule, in order; notes its ``(H, W)`` in ``sizes``, and tells of it once taken."""
    for index, pixels in enumerate(parallel(lambda i: resized(view.read(i), preprocessing), range(len(view)))):
        sizes[index] = pixels.shape[:2]
        yield pixels
        if progress is not None:
            progress(index + 1, len(view))


def eval_pixels(store: PixelStore, indices: Sequence[int], preprocessing: Preprocessing) -> torch.Tensor:
    """The network's input pixels, uint8 ``(N, H, W, 3)``: exactly ``prepare_image`` of each picture.

    Raises:
        DataError: The store was built by another resize rule.
    """
    check_rule(store, preprocessing)
    height, width = preprocessing.input_size
    out = np.empty((len(indices), height, width, 3), dtype=np.uint8)
    for row, pixels in enumerate(store.take([int(index) for index in indices])):
        out[row] = center_crop(pixels, preprocessing)
    return torch.from_numpy(out)


def check_rule(store: PixelStore, preprocessing: Preprocessing) -> None:
    """Refuses a store that was built by another resize rule.

    Raises:
        DataError: Names both rules.
    """
    if not store.same_rule(preprocessing):
        mine = store.preprocessing
        raise DataError(
            f"these pixels were scaled by resize {mine.resize}, {mine.interpolation}, input size {mine.input_size};"
            f" asked for are resize {preprocessing.resize}, {preprocessing.interpolation}, {preprocessing.input_size}:"
            " build the store with the preprocessing that is used"
        )


class _Packer:
    """Collects pixels in memory and moves to a temporary file when they grow beyond a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._written = 0

    def __enter__(self) -> _Packer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # the mapping keeps the nameless file alive

    @property
    def spilled(self) -> bool:
        return self._file is not None

    def add(self, pixels: Pixels) -> None:
        content = pixels.tobytes()
        self._written += len(content)
        if self._file is None and self._written <= self._limit:
            self._memory += content
            return
        try:
            if self._file is None:
                self._file = _nameless_file()
                self._file.write(self._memory)
                self._memory = bytearray()
            self._file.write(content)
        except OSError as error:
            raise _no_room(error) from error

    def packed(self) -> Pixels:
        if self._file is None:
            packed = np.frombuffer(self._memory, dtype=np.uint8)
            packed.flags.writeable = False
            return packed
        self._file.flush()
        return np.memmap(self._file, dtype=np.uint8, mode="r", shape=(self._written,))


def _no_room(error: OSError) -> DataError:
    return DataError(
        f"decoded pictures do not fit on the disk of {str(cache_folder())!r}: {error.strerror}; free space,"
        " set EDGEXFER_CACHE to a folder on another disk, or choose a smaller --image-size"
    )


def _nameless_file() -> IO[bytes]:
    """A file without a name, gone when its last user is."""
    return tempfile.TemporaryFile(dir=pixels_folder(), prefix="edgexfer-")


def pixels_folder() -> Path | None:
    """Where decoded pictures go: the cache's disk (``/tmp`` is often memory); ``None`` where it cannot be written."""
    folder = Path(cache_folder()) / "pixels"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else None
