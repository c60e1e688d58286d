"""Pictures without labels, to be learned from beside the labelled ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgexfer.data.assemble import refuse_skipped
from edgexfer.data.decode import RAW_SUFFIXES, SUFFIXES
from edgexfer.data.folder import check_folder, files_pool
from edgexfer.data.index import Progress
from edgexfer.data.names import natural_key
from edgexfer.data.views import Splits, View
from edgexfer.errors import DataError
from edgexfer.words import counted

UNLABELLED = -1
"""The label of a picture that has none."""


def with_unlabelled(splits: Splits, folder: Path, progress: Progress | None = None, *, strict: bool = False) -> Splits:
    """A data set whose training pictures are joined by those of a folder, labelled ``UNLABELLED``.

    Every picture below the folder counts, whatever its subfolder is called. Those that the data set holds already (the
    same content) are left out: in validation or test they would tell the student what it is to be asked.

    Args:
        splits: The labelled data set; its fingerprint stays as it is.
        folder: Where the pictures lie.
        progress: Called with how many were looked at, and how many there are.
        strict: Whether a picture that cannot be used ends the run instead of being skipped and counted.

    Raises:
        DataError: The folder is missing, holds no picture that can be used and is not in the data set already, or
            something was skipped under ``strict``.
    """
    check_folder(folder)
    pool = files_pool(folder, [(file, UNLABELLED) for file in _picture_files(folder)], progress)
    if strict:
        refuse_skipped(str(folder), pool.skipped)
    views = [view for view in (splits.train, splits.val, splits.test) if view is not None]
    seen = {digest for view in views for digest in view.digests}
    fresh: list[int] = []
    for index, picture in enumerate(pool.pictures):
        if picture.digest not in seen:
            seen.add(picture.digest)
            fresh.append(index)
    twice = len(pool.pictures) - len(fresh)
    if not fresh:
        raise DataError(
            f"{str(folder)!r} holds no picture to learn from: {twice} are in the data set already, {len(pool.skipped)}"
            " cannot be read; --unlabelled takes a folder of further pictures"
        )
    notes = [f"{counted(len(fresh), 'picture')} without labels from {str(folder)!r}"]
    if twice:
        left = f"{counted(twice, 'picture')} without labels {'is' if twice == 1 else 'are'} left out"
        notes.append(f"{left}, held twice by the data set or the folder")
    extra = pool.view("unlabelled", fresh)
    return replace(
        splits,
        train=_joined(splits.train, extra),
        skipped=(*splits.skipped, *pool.skipped),
        notes=(*splits.notes, *notes, *pool.notes),
    )


def _joined(train: View, extra: View) -> View:
    count, mine, theirs = len(train), train.read, extra.read
    return replace(
        train,
        files=(*train.files, *extra.files),
        labels=np.concatenate([train.labels, extra.labels]),
        tie=None,
        read=lambda i: mine(i) if i < count else theirs(i - count),
        digests=(*train.digests, *extra.digests),
    )


def _picture_files(folder: Path) -> Sequence[str]:
    """Every picture file below a folder, relative to it, in natural order; hidden ones are passed over."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.relpath(os.path.join(place, name), folder)
            for name in files
            if not name.startswith(".") and Path(name).suffix.casefold() in SUFFIXES | RAW_SUFFIXES
        ]
    return sorted(found, key=natural_key)
