"""Pictures that come as one array (digits, MNIST, CIFAR), as pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.data.assemble import Picture, Pool
from edgexfer.data.index import thumbnail
from edgexfer.data.names import natural_key
from edgexfer.data.views import ArrayReader, pixels_digest

Pixels = NDArray[np.uint8]


def array_pool(pixels: Pixels, labels: Sequence[int], prefix: str) -> Pool:
    """A pool of the pictures of an array.

    Args:
        pixels: uint8, ``(N, H, W)`` or ``(N, H, W, 3)``.
        labels: Class of each.
        prefix: Picture ``i`` is called ``prefix/i``, with leading zeros.
    """
    digits = len(str(max(len(pixels) - 1, 1)))
    pictures = tuple(
        Picture(
            name=f"{prefix}/{i:0{digits}d}",
            where=i,
            label=int(label),
            digest=pixels_digest(picture),
            thumb=thumbnail(Image.fromarray(picture)),
            size=(picture.shape[0], picture.shape[1]),
        )
        for i, (picture, label) in enumerate(zip(pixels, labels, strict=True))
    )
    return Pool(pictures, (), _ArrayReaders(pixels))


def in_natural_order(names: Sequence[str], labels: Sequence[int]) -> tuple[tuple[str, ...], list[int]]:
    """A set's class names put in natural order, and its labels to match."""
    order = sorted(range(len(names)), key=lambda i: natural_key(names[i]))
    position = {old: new for new, old in enumerate(order)}
    return tuple(names[i] for i in order), [position[int(label)] for label in labels]


@dataclass(frozen=True)
class _ArrayReaders:
    pixels: Pixels

    def __call__(self, pictures: Sequence[Picture]) -> ArrayReader:
        return ArrayReader(self.pixels, np.array([int(p.where) for p in pictures], dtype=np.int64))
