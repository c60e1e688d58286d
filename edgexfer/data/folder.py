"""A folder of class folders, with or without ``train/ val/ test/`` inside, as ``Splits``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edgexfer.data.assemble import Options, Picture, Pool, assemble
from edgexfer.data.decode import RAW_SUFFIXES, UnusableImageError, read_picture
from edgexfer.data.index import Progress, index_files
from edgexfer.data.names import listing, look_alike_key, mirrors_keep_class, natural_key
from edgexfer.data.scan import ClassTree, find_splits, scan_classes, subfolders
from edgexfer.data.views import Splits, View
from edgexfer.errors import DataError
from edgexfer.files import printable


@dataclass(frozen=True)
class FileReader:
    """Reads pictures from files.

    Attributes:
        root: The data set's folder.
        files: Path of each picture below it.
    """

    root: Path
    files: tuple[str, ...]

    def __call__(self, index: int) -> Image.Image:
        """Picture ``index``, upright, RGB, full size.

        Raises:
            DataError: It cannot be read any more.
        """
        name = printable(self.files[index])
        try:
            return read_picture((self.root / self.files[index]).read_bytes())
        except OSError as error:
            raise DataError(f"{name!r} cannot be read any more: {error.strerror}; was it moved or deleted?") from error
        except UnusableImageError as error:
            raise DataError(f"{name!r} {error}") from error


def folder_splits(root: Path, options: Options, progress: Progress | None = None) -> Splits:
    """Reads a folder of class folders.

    Raises:
        DataError: The folder cannot be used as it is; says what was found and what to do.
    """
    check_folder(root)
    layout = find_splits(root)
    trees = {split: scan_classes(root, sub) for split, sub in layout.items()} or {"all": scan_classes(root)}
    main = trees.get("train", trees.get("all"))
    if main is None:  # find_splits never gives val or test without train
        raise DataError(f"{str(root)!r} has no 'train'")
    classes = _classes(root, main)
    notes = list(_layout_notes(root, layout, trees))
    pools = {}
    for split, tree in trees.items():
        if split in ("val", "test") and not any(tree.classes.values()):
            notes.append(f"{layout[split]}/ holds no pictures in class folders and is left out")
            continue
        names = _mapped(tree, classes, layout.get(split, ""), layout.get("train", ""))
        pools[split] = read_pool(root, tree, names, progress)
    return assemble(str(root), classes, pools, options, mirrors=mirrors_keep_class(classes), notes=notes)


def whole_folder(root: Path, classes: Sequence[str]) -> View:
    """A folder of class folders taken whole, its classes mapped by name onto ``classes``, which may have more.

    Returns:
        The view, called ``"all"``.

    Raises:
        DataError: The folder has classes that are not among ``classes``; they are listed.
    """
    check_folder(root)
    tree = scan_classes(root)
    if not any(tree.classes.values()):
        raise DataError(_nothing_found(root, tree))
    pool = read_pool(root, tree, _mapped(tree, classes, str(root), "the model"))
    if not pool.pictures:
        raise DataError(f"{str(root)!r} holds no picture that can be read: {_reasons(pool.skipped)}")
    return pool.view("all", range(len(pool.pictures)))


def check_folder(root: Path) -> None:
    """Refuses what is not a folder.

    Raises:
        DataError: ``root`` is missing, a file, or a run folder.
    """
    if root.is_dir():
        return
    if root.exists():
        raise DataError(f"{str(root)!r} is a file; DATA is a folder with one folder a class, or a set by name")
    raise DataError(f"there is no folder {str(root)!r}")


def read_pool(root: Path, tree: ClassTree, names: Mapping[str, int], progress: Progress | None = None) -> Pool:
    """The pictures of a class tree; those that cannot be used are put aside with the reason."""
    files = [(file, names[name]) for name in sorted(tree.classes, key=natural_key) for file in tree.classes[name]]
    return files_pool(root, files, progress)


def files_pool(root: Path, files: Sequence[tuple[str, int]], progress: Progress | None = None) -> Pool:
    """A pool of ``(file below root, label)``; those that cannot be used are put aside with the reason."""
    pictures: list[Picture] = []
    skipped: list[tuple[str, str]] = []
    animated: list[str] = []
    entries = index_files(root, [file for file, _ in files], progress)
    for (file, label), entry in zip(files, entries, strict=True):
        name = printable(file).replace(os.sep, "/")
        if Path(file).suffix.casefold() in RAW_SUFFIXES:
            skipped.append((name, "is a camera's raw file; export it as JPEG"))
        elif entry.problem:
            skipped.append((name, entry.problem))
        else:
            pictures.append(Picture(name, file, label, entry.digest, entry.thumb, entry.size))
            if entry.frames > 1:
                animated.append(name)
    notes = [f"of {len(animated)} animated or many-paged pictures the first frame is used: {listing(animated, 3)}"]
    return Pool(tuple(pictures), tuple(skipped), _FileReaders(root), tuple(notes if animated else ()))


@dataclass(frozen=True)
class _FileReaders:
    root: Path

    def __call__(self, pictures: Sequence[Picture]) -> FileReader:
        return FileReader(self.root, tuple(str(p.where) for p in pictures))


def _classes(root: Path, tree: ClassTree) -> tuple[str, ...]:
    """Class names of what is trained on, at least two, none without a picture file."""
    names = tuple(sorted(tree.classes, key=natural_key))
    empty = [name for name in names if not tree.classes[name]]
    if len(empty) == len(names):
        raise DataError(_nothing_found(root, tree))
    if empty:
        raise DataError(
            f"{str(root)!r} has class folders without any picture: {listing(empty)}; add pictures or remove the folders"
        )
    if len(names) == 1:
        raise DataError(
            f"{str(root)!r} has one class only, {names[0]!r}; a classifier needs at least two, one folder each"
            + _deeper(root)
        )
    return names


def _nothing_found(root: Path, tree: ClassTree) -> str:
    if tree.loose:
        return (
            f"{str(root)!r} holds {len(tree.loose)} pictures but no class folders; put the pictures of each class into"
            " a folder named after it"
        )
    if not tree.classes:
        return f"{str(root)!r} is empty; DATA is a folder with one folder a class, pictures inside"
    return f"{str(root)!r} has folders ({listing(sorted(tree.classes), 5)}) but no pictures in them"


def _deeper(root: Path) -> str:
    """Points at the folder that was probably meant, one level down."""
    for folder in subfolders(root)[:1]:
        below = subfolders(root / folder)
        if len(below) > 1:
            return f"; did you mean {str(root / folder)!r}, which holds {listing(below, 5)}?"
    return ""


def _mapped(tree: ClassTree, classes: Sequence[str], where: str, known_by: str) -> dict[str, int]:
    """Class name of a tree -> its position in ``classes``, by name.

    Raises:
        DataError: Names that are not among ``classes``, listed, with the nearest spelling where only that differs.
    """
    positions = {name: i for i, name in enumerate(classes)}
    alike = {look_alike_key(name): name for name in classes}
    strangers = [name for name, files in tree.classes.items() if name not in positions and files]
    if strangers:
        hints = [
            f"{ascii(n)} (is {ascii(alike[look_alike_key(n)])} meant?)" if look_alike_key(n) in alike else repr(n)
            for n in strangers
        ]
        raise DataError(
            f"{where!r} has classes that {known_by!r} has not: {', '.join(hints)}; known: {listing(list(classes), 20)};"
            " rename or remove them"
        )
    return {name: positions[name] for name, files in tree.classes.items() if files}


def _layout_notes(root: Path, layout: Mapping[str, str], trees: Mapping[str, ClassTree]) -> list[str]:
    notes = []
    loose = [name for tree in trees.values() for name in tree.loose]
    other = [name for tree in trees.values() for name in tree.other]
    nested = [name for tree in trees.values() for name in tree.nested]
    beside = [f for f in subfolders(root) if f not in layout.values()] if layout else []
    if loose:
        notes.append(f"{len(loose)} pictures outside the class folders are left out: {listing(loose, 3)}")
    if other:
        notes.append(f"{len(other)} files that are no pictures are left out: {listing(other, 3)}")
    if nested:
        notes.append(f"folders inside class folders count to the class: {listing(sorted(set(nested)), 3)}")
    if beside:
        notes.append(f"folders beside {layout['train']}/ are left out: {listing(beside, 5)}")
    return [printable(note) for note in notes]


def _reasons(skipped: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{name!r} {reason}" for name, reason in skipped[:5])
