"""Pictures that come as one array (digits, MNIST, CIFAR), as pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.data.assemble import Picture, Pool
from edgexfer.data.index import THUMB
from edgexfer.data.names import natural_key
from edgexfer.data.views import ArrayReader, pixels_digest

Pixels = NDArray[np.uint8]
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_CHUNK = 4096


def array_pool(pixels: Pixels, labels: Sequence[int], prefix: str) -> Pool:
    """A pool of the pictures of an array.

    Args:
        pixels: uint8, ``(N, H, W)`` or ``(N, H, W, 3)``.
        labels: Class of each.
        prefix: Picture ``i`` is called ``prefix/i``, with leading zeros.
    """
    digits = len(str(max(len(pixels) - 1, 1)))
    thumbs = array_thumbs(pixels)
    pictures = tuple(
        Picture(
            name=f"{prefix}/{i:0{digits}d}",
            where=i,
            label=int(label),
            digest=pixels_digest(picture),
            thumb=thumbs[i].tobytes(),
            size=(picture.shape[0], picture.shape[1]),
        )
        for i, (picture, label) in enumerate(zip(pixels, labels, strict=True))
    )
    return Pool(pictures, (), _ArrayReaders(pixels))


def array_thumbs(pixels: Pixels) -> Pixels:
    """``THUMB`` x ``THUMB`` grey thumbnails ``(N, THUMB, THUMB)`` of all pictures of an array: means over areas."""
    down, across = (_area_weights(length) for length in pixels.shape[1:3])
    out = np.empty((len(pixels), THUMB, THUMB), dtype=np.uint8)
    for begin in range(0, len(pixels), _CHUNK):
        some = pixels[begin : begin + _CHUNK].astype(np.float32)
        grey = some @ _GREY if some.ndim == 4 else some
        out[begin : begin + _CHUNK] = np.rint(down @ grey @ across.T).clip(0, 255)
    return out


def _area_weights(length: int) -> NDArray[np.float32]:
    """``(THUMB, length)``: how much of each pixel lies in each of ``THUMB`` equal parts; rows sum to 1."""
    edges = np.linspace(0, length, THUMB + 1)
    pixel = np.arange(length)
    overlap = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    weights: NDArray[np.float32] = (overlap.clip(0) * (THUMB / length)).astype(np.float32)
    return weights


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
