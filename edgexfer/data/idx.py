"""MNIST's own file format: a four-byte magic, big-endian dimensions, then bytes; gzipped or not.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexfer.errors import DataError

_UNSIGNED_BYTES = 8


def find_idx(folders: list[Path], name: str) -> Path | None:
    """The file ``name`` or ``name.gz`` in the first of the folders that has it."""
    for folder in folders:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an idx file of unsigned bytes, straight from its ``.gz`` if it is one: the folder may be read-only.

    Raises:
        DataError: The file is damaged or is not of this format.
    """
    remedy = "delete it and fetch it again (--download)"
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}; {remedy}") from error
    if len(content) < 4 or content[:3] != bytes((0, 0, _UNSIGNED_BYTES)):
        raise DataError(f"{str(path)!r} is not an idx file of unsigned bytes; {remedy}")
    dimensions = content[3]
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    body = content[4 + 4 * dimensions :]
    if len(body) != math.prod(shape):
        raise DataError(f"{str(path)!r} holds {len(body)} bytes where its head says {math.prod(shape)}; {remedy}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
