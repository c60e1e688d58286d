"""The two ways in: a data set with its splits, and labelled pictures to evaluate on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgexfer.data.assemble import Options
from edgexfer.data.digits import digits_splits
from edgexfer.data.folder import folder_splits, whole_folder
from edgexfer.data.groups import GroupBy
from edgexfer.data.index import Progress
from edgexfer.data.named import named_sets, named_splits
from edgexfer.data.names import listing
from edgexfer.data.scan import find_splits
from edgexfer.data.views import Splits, View
from edgexfer.errors import DataError

DIGITS = "digits"


def load_splits(
    source: str | os.PathLike[str],
    *,
    seed: int = 0,
    val_split: float = 0.15,
    test_split: float = 0.15,
    group_by: GroupBy | None = None,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Splits:
    """Loads a data set as train, val and (where there is one) test.

    Args:
        source: ``"digits"``, the name of one of torchvision's sets, or a folder. A name wins over a folder of the
            same name; ``./digits`` is the folder.
        seed: Decides, with the pictures' content, which side each goes to.
        val_split: Fraction for val, where the source brings none.
        test_split: Fraction for test, where the source is one flat folder.
        group_by: Keeps pictures on one side: a function of the relative name, or a regular expression searched in it,
            whose first bracketed part (or whole match) names the group.
        data_root: Where torchvision's sets lie or go, each in a folder of its name; ``data`` by default.
        download: Whether a missing set may be fetched.
        strict: Whether a picture that cannot be used ends the run instead of being skipped and counted.
        progress: Called with how many pictures were looked at, and how many there are.

    Raises:
        DataError: The data cannot be used; says what was found and what to do.
    """
    options = Options(seed, val_split, test_split, group_by, strict)
    name = os.fspath(source)
    if name == DIGITS:
        return digits_splits(options)
    if name in named_sets():
        return named_splits(name, options, None if data_root is None else Path(data_root), download, progress)
    _check_known(name)
    return folder_splits(Path(name), options, progress)


def load_labelled(
    source: str | os.PathLike[str],
    classes: Sequence[str],
    *,
    whole: bool = False,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    strict: bool = False,
) -> View:
    """Labelled pictures to evaluate on, their labels mapped by class name onto ``classes``.

    Args:
        source: As for ``load_splits``.
        classes: Class names of the model, in the order of its outputs; the data may have fewer.
        whole: Take every picture of a folder of class folders (or every split of a set); else the test split is
            taken, or val where there is no test.
        data_root: As for ``load_splits``.
        download: See ``load_splits``.
        strict: See ``load_splits``.

    Returns:
        The view, with what was skipped in ``View.skipped``.

    Raises:
        DataError: The data has classes that the model has not; they are listed.
    """
    name = os.fspath(source)
    built_in = name == DIGITS or name in named_sets()
    if whole and not built_in and not _has_train(Path(name)):
        _check_known(name)
        view = whole_folder(Path(name), classes)
        if strict and view.skipped:
            raise DataError(f"{name!r}: strict is on and {'; '.join(f'{f!r} {why}' for f, why in view.skipped[:20])}")
        return view
    splits = load_splits(name, data_root=data_root, download=download, strict=strict)
    views = [v for v in (splits.train, splits.val, splits.test) if v is not None]
    view = joined(views) if whole else views[-1]
    return replace(map_labels(view, splits.classes, classes, name), skipped=splits.skipped)


def map_labels(view: View, found: Sequence[str], classes: Sequence[str], source: str) -> View:
    """The view with its labels, positions in ``found``, as positions in ``classes``.

    Raises:
        DataError: A class that the view uses is not among ``classes``; all such are listed.
    """
    used = sorted(set(view.labels.tolist()))
    strangers = [found[label] for label in used if found[label] not in classes]
    if strangers:
        raise DataError(
            f"{source!r} has classes that the model does not know: {listing(strangers)}; it knows"
            f" {listing(list(classes), 20)}; rename the folders or train on this data"
        )
    table = np.full(len(found), -1, dtype=np.int64)
    for label in used:
        table[label] = list(classes).index(found[label])
    return replace(view, labels=table[view.labels])


def joined(views: Sequence[View]) -> View:
    """Several views as one, called ``"all"``."""
    places = [(view, i) for view in views for i in range(len(view))]
    return View(
        name="all",
        files=tuple(f for view in views for f in view.files),
        labels=np.concatenate([view.labels for view in views]),
        read=lambda i: places[i][0].read(places[i][1]),
        digests=tuple(d for view in views for d in view.digests),
    )


def _has_train(folder: Path) -> bool:
    return folder.is_dir() and "train" in find_splits(folder)


def _check_known(name: str) -> None:
    if not name or not Path(name).exists():
        known = ", ".join([DIGITS, *named_sets()])
        raise DataError(f"there is no folder {name!r}, and no data set of that name; known sets: {known}")
