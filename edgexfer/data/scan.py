"""What lies in a folder of class folders: its layout, its classes and its picture files, not opened yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgexfer.data.decode import RAW_SUFFIXES, SUFFIXES, looks_like_picture
from edgexfer.data.names import class_name, listing, natural_key, refuse_look_alikes
from edgexfer.errors import DataError
from edgexfer.files import printable

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_CLUTTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))


@dataclass(frozen=True)
class ClassTree:
    """The class folders of one folder.

    Attributes:
        classes: Class name -> its picture files, relative to the data set's root, in natural order.
        loose: Picture files outside any class folder.
        other: Files that are no pictures.
        nested: Class folders that hold folders of their own.
    """

    classes: dict[str, tuple[str, ...]]
    loose: tuple[str, ...]
    other: tuple[str, ...]
    nested: tuple[str, ...]


def find_splits(root: Path) -> dict[str, str]:
    """The split folders of a data set: ``{"train": "train", "val": "validation", ...}``; empty for a flat one.

    A folder named like a split counts as one only if it holds folders and no pictures of its own, so that a class may
    be called "train".

    Raises:
        DataError: Two folders name one split, or there is val or test without train.
    """
    folders = {name.casefold(): name for name in subfolders(root)}
    found: dict[str, str] = {}
    for split, names in SPLIT_FOLDERS.items():
        present = [folders[name] for name in names if name in folders and _holds_classes(root / folders[name])]
        if len(present) > 1:
            raise DataError(f"{str(root)!r} holds {listing(present)}, which all mean {split!r}; keep one of them")
        if present:
            found[split] = present[0]
    if found and "train" not in found:
        raise DataError(
            f"{str(root)!r} holds {listing(list(found.values()))} but no 'train'; put the class folders to train on"
            " into train/, or name one folder of class folders to have it split"
        )
    return found


def scan_classes(root: Path, sub: str = "") -> ClassTree:
    """Finds the classes and pictures in ``root / sub``; a class is a folder, with everything below it.

    Hidden files and folders, and what systems leave behind (``Thumbs.db``), are passed over.

    Raises:
        DataError: A folder cannot be read, or two class names look the same.
    """
    base = root / sub
    folders = subfolders(base)
    refuse_look_alikes((f for f in folders), repr(str(base)))
    classes: dict[str, tuple[str, ...]] = {}
    other: list[str] = []
    nested: list[str] = []
    for folder in sorted(folders, key=natural_key):
        pictures: list[str] = []
        for path in _files_below(base / folder):
            name = os.path.join(sub, folder, path)
            (pictures if is_picture_file(root / name) else other).append(name)
        classes[class_name(folder)] = tuple(sorted(pictures, key=natural_key))
        if any(os.sep in os.path.relpath(p, os.path.join(sub, folder)) for p in pictures):
            nested.append(class_name(folder))
    loose: list[str] = []
    for entry in _entries(base):
        if entry.is_file():
            name = os.path.join(sub, entry.name)
            (loose if is_picture_file(root / name) else other).append(name)
    return ClassTree(classes, tuple(loose), tuple(other), tuple(nested))


def subfolders(folder: Path) -> list[str]:
    """The folders in a folder that are not hidden, in natural order."""
    return sorted((entry.name for entry in _entries(folder) if entry.is_dir()), key=natural_key)


def is_picture_file(path: Path) -> bool:
    """Whether a file means to be a picture: by its suffix, else by its first bytes."""
    suffix = path.suffix.casefold()
    if suffix in SUFFIXES or suffix in RAW_SUFFIXES:
        return True
    if suffix in (".txt", ".json", ".csv", ".xml", ".md", ".npy", ".py"):
        return False
    try:
        with path.open("rb") as stream:
            return looks_like_picture(stream.read(16))
    except OSError:
        return False


def _holds_classes(folder: Path) -> bool:
    """Whether a folder holds folders, and no pictures directly."""
    entries = _entries(folder)
    direct = any(entry.is_file() and is_picture_file(Path(entry.path)) for entry in entries)
    return not direct and any(entry.is_dir() for entry in entries)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, in name order, without the hidden and the clutter."""
    try:
        with os.scandir(folder) as found:
            entries = [e for e in found if not e.name.startswith(".") and e.name.casefold() not in _CLUTTER]
    except OSError as error:
        raise DataError(
            f"the folder {printable(str(folder))!r} cannot be read: {error.strerror}; check its permissions"
        ) from error
    return sorted(entries, key=lambda e: natural_key(e.name))


def _files_below(folder: Path) -> Iterator[str]:
    """Relative paths of the files below a folder, through links to folders too, each real folder once."""
    seen: set[str] = set()
    pending = [""]
    while pending:
        sub = pending.pop()
        real = os.path.realpath(folder / sub)
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(folder / sub):
            name = os.path.join(sub, entry.name)
            if entry.is_dir():
                pending.append(name)
            elif entry.is_file():
                yield name
