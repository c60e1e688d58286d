"""What the data room hands out: views of pictures with labels, and the splits they make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """The pictures of one split.

    Attributes:
        name: ``"train"``, ``"val"``, ``"test"``, or ``"all"`` for a folder taken whole.
        files: Relative names, for messages and ``predictions.jsonl``.
        labels: Positions in the class names, ``(N,)``.
        read: Gives picture ``i`` upright, RGB, at full size.
        digests: SHA-256 of each picture's content, in hexadecimal.
        skipped: ``(file, reason)`` of pictures that were left out; filled where a whole source is scored.
        tie: Finds ``groups``, once, when they are first asked for; ``None`` where every picture stands for itself.
    """

    name: str
    files: tuple[str, ...]
    labels: Labels
    read: Callable[[int], Image.Image]
    digests: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    tie: Callable[[], Labels] | None = None

    @cached_property
    def groups(self) -> Labels | None:
        """A number for each picture ``(N,)``.

        Those with the same one (copies, near-duplicates, the user's own groups) are kept together whenever some are
        held out. ``None`` where every picture stands for itself.
        """
        return None if self.tie is None else self.tie()

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Splits:
    """A data set, cut into what is learnt from, what selects and what is reported.

    Attributes:
        source: What the user named.
        classes: Class names in natural order; a label is a position in it.
        train: What the weights are learnt from.
        val: What selects the best epoch.
        test: What is reported; ``None`` where the data has none.
        image_size: Median ``(H, W)`` of the training pictures, upright.
        fingerprint: SHA-256 over the classes, the pictures' content and their split.
        mirrors: Whether a mirrored picture keeps its class; false for digits.
        skipped: ``(file, reason)`` of pictures that were left out.
        notes: Sentences for the log.
    """

    source: str
    classes: tuple[str, ...]
    train: View
    val: View
    test: View | None
    image_size: tuple[int, int]
    fingerprint: str
    mirrors: bool
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def untied(self) -> Splits:
        """The same for work that holds no training picture out: what groups are found by takes 280 bytes a picture."""
        return replace(self, train=replace(self.train, tie=None))


def fingerprint(classes: Sequence[str], views: Sequence[View]) -> str:
    """SHA-256 over the class names and, split by split, the sorted pairs of class and content.

    Neither file names nor the order of the files matter.
    """
    digest = hashlib.sha256()
    for name in classes:
        digest.update(b"class\0" + name.encode("utf-8") + b"\0")
    for view in views:
        digest.update(b"split\0" + view.name.encode("utf-8") + b"\0")
        for line in sorted(f"{label} {content}\n" for label, content in zip(view.labels, view.digests, strict=True)):
            digest.update(line.encode("ascii"))
    return digest.hexdigest()


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of a picture that has no file: its shape, then its bytes."""
    head = " ".join(str(n) for n in pixels.shape).encode("ascii")
    return hashlib.sha256(head + b"\0" + np.ascontiguousarray(pixels).tobytes()).hexdigest()


@dataclass(frozen=True)
class ArrayReader:
    """Reads pictures out of one array.

    Attributes:
        pixels: uint8, ``(M, H, W)`` or ``(M, H, W, 3)``.
        positions: Which picture of ``pixels`` is the view's ``i``-th.
    """

    pixels: NDArray[np.uint8]
    positions: NDArray[np.int64]

    def __call__(self, index: int) -> Image.Image:
        """Picture ``index``, RGB."""
        return Image.fromarray(self.pixels[self.positions[index]]).convert("RGB")
