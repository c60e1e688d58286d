"""torchvision's data sets by name, with the splits their authors gave them.

Each lies in ``data_root/<name>`` (or ``data_root`` itself) as torchvision lays it out. Nothing is fetched unless asked
for. CIFAR's files are pickles; torchvision checks them against the authors' MD5 sums before it opens them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.data.arrays import array_pool, in_natural_order
from edgexfer.data.assemble import Options, Pool, assemble
from edgexfer.data.folder import files_pool, folder_splits
from edgexfer.data.idx import find_idx, read_idx
from edgexfer.data.index import Progress
from edgexfer.data.scan import find_splits
from edgexfer.data.views import Splits
from edgexfer.errors import DataError
from edgexfer.registry import Registry
from edgexfer.torchvision_import import import_torchvision

DEFAULT_ROOT = Path("data")

_CARS_REMEDY = (
    "its address is dead and nothing can download it; put stanford_cars/devkit/cars_meta.mat,"
    " stanford_cars/devkit/cars_train_annos.mat, stanford_cars/cars_test_annos_withlabels.mat and the folders"
    " stanford_cars/cars_train/ and stanford_cars/cars_test/ with the .jpg files there"
)


@dataclass(frozen=True)
class NamedSet:
    """How one of torchvision's sets is opened.

    Attributes:
        title: Name of torchvision's class.
        splits: Our split -> the arguments that torchvision wants for it.
        marker: What lies in the set's root when the set is there.
        mirrors: Whether a mirrored picture keeps its class.
        remedy: What to do where it is missing, instead of downloading.
    """

    title: str
    splits: Mapping[str, Mapping[str, Any]]
    marker: str
    mirrors: bool = True
    remedy: str = field(default="", repr=False)


def named_sets() -> Registry[NamedSet]:
    """The sets, by the names that a user types."""
    train_flag = {"train": {"train": True}, "test": {"train": False}}
    halves = {"train": {"split": "train"}, "test": {"split": "test"}}
    thirds = {**halves, "val": {"split": "val"}}
    pets = {"train": {"split": "trainval"}, "test": {"split": "test"}}
    sets: Registry[NamedSet] = Registry("data set")
    sets.add("cifar10", NamedSet("CIFAR10", train_flag, "cifar-10-batches-py"))
    sets.add("cifar100", NamedSet("CIFAR100", train_flag, "cifar-100-python"))
    sets.add("mnist", NamedSet("MNIST", train_flag, "MNIST", mirrors=False))
    sets.add("fashion-mnist", NamedSet("FashionMNIST", train_flag, "FashionMNIST"))
    sets.add("flowers102", NamedSet("Flowers102", thirds, "flowers-102"))
    sets.add("food101", NamedSet("Food101", halves, "food-101"))
    sets.add("oxford-iiit-pet", NamedSet("OxfordIIITPet", pets, "oxford-iiit-pet"))
    sets.add("stanford-cars", NamedSet("StanfordCars", halves, "stanford_cars", remedy=_CARS_REMEDY))
    sets.add("fgvc-aircraft", NamedSet("FGVCAircraft", thirds, "fgvc-aircraft-2013b"))
    return sets


def named_splits(
    name: str, options: Options, data_root: Path | None, download: bool, progress: Progress | None = None
) -> Splits:
    """One of torchvision's sets.

    Raises:
        DataError: It is not there; says where it was looked for and how to get it.
    """
    named = named_sets()[name]
    base = data_root if data_root is not None else DEFAULT_ROOT
    root = _root(base, name, named)
    if not (root / named.marker).is_dir() and not download and _is_class_folder(base / name):
        return folder_splits(base / name, options, progress)
    if name in ("mnist", "fashion-mnist"):
        classes, pools = _idx_pools(name, named, root, download)
    else:
        classes, pools = _torchvision_pools(name, named, root, download, progress)
    return assemble(name, classes, pools, options, mirrors=named.mirrors)


def _root(base: Path, name: str, named: NamedSet) -> Path:
    """``base/name``, or ``base`` where the set lies in it directly."""
    return base if (base / named.marker).is_dir() and not (base / name / named.marker).is_dir() else base / name


def _is_class_folder(folder: Path) -> bool:
    return folder.is_dir() and "train" in find_splits(folder)


def _missing(name: str, named: NamedSet, root: Path, why: str = "") -> DataError:
    detail = f" ({why})" if why else ""
    if Path(name).is_dir():
        detail += f" (the folder of that name here is {os.curdir}{os.sep}{name})"
    if named.remedy:
        return DataError(f"{name!r} is not in {str(root)!r}{detail}; {named.remedy}")
    return DataError(
        f"{name!r} is not in {str(root)!r}{detail}; pass --download to fetch it there, or say with --data-root where"
        " it is"
    )


def _idx_pools(name: str, named: NamedSet, root: Path, download: bool) -> tuple[tuple[str, ...], dict[str, Pool]]:
    """MNIST and Fashion-MNIST, read from their idx files, packed or not, without writing to their folder."""
    folders = [root / named.marker / "raw", root / named.marker, root]
    files = [f"{split}-{kind}" for split in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    missing = [file for file in files if find_idx(folders, file) is None]
    if missing and download:
        _open(named, root, {"train": True}, name, download=True)
        missing = [file for file in files if find_idx(folders, file) is None]
    if missing:
        raise _missing(name, named, root, f"no {missing[0]} or {missing[0]}.gz")
    arrays = [read_idx(path) for file in files if (path := find_idx(folders, file)) is not None]
    for images, labels, split in ((arrays[0], arrays[1], "train"), (arrays[2], arrays[3], "t10k")):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"{name!r} in {str(root)!r}: {split} has {images.shape} pictures, {labels.shape} labels")
        if labels.size == 0 or labels.max() > 9:
            raise DataError(f"{name!r} in {str(root)!r}: the labels of {split} are not 0 to 9")
    names = [str(n) for n in range(10)] if name == "mnist" else _FASHION
    classes, train = in_natural_order(names, arrays[1].tolist())
    _, test = in_natural_order(names, arrays[3].tolist())
    return classes, {"train": array_pool(arrays[0], train, "train"), "test": array_pool(arrays[2], test, "test")}


_FASHION = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
]  # fmt: skip


def _torchvision_pools(
    name: str, named: NamedSet, root: Path, download: bool, progress: Progress | None
) -> tuple[tuple[str, ...], dict[str, Pool]]:
    opened = {split: _open(named, root, wanted, name, download) for split, wanted in named.splits.items()}
    names = getattr(opened["train"], "classes", None)
    if not names:
        raise DataError(f"this torchvision does not name the classes of {name!r}; pip install -U torchvision")
    classes, _ = in_natural_order(names, [])
    pools = {}
    for split, dataset in opened.items():
        if hasattr(dataset, "data") and hasattr(dataset, "targets"):
            labels = in_natural_order(names, dataset.targets)[1]
            pools[split] = array_pool(np.asarray(dataset.data, dtype=np.uint8), labels, split)
        else:
            files, found = _files(dataset, name)
            labels = in_natural_order(names, found)[1]
            relative = [os.path.relpath(file, root) for file in files]
            pools[split] = files_pool(root, list(zip(relative, labels, strict=True)), progress)
    return classes, pools


def _open(named: NamedSet, root: Path, wanted: Mapping[str, Any], name: str, download: bool) -> Any:
    make: Callable[..., Any] = getattr(import_torchvision().datasets, named.title)
    try:
        if download:
            root.mkdir(parents=True, exist_ok=True)
        return make(str(root), download=download and not named.remedy, **wanted)
    except (RuntimeError, OSError, ValueError) as error:
        if download and not named.remedy:
            raise DataError(f"{name!r} could not be fetched into {str(root)!r}: {error}") from error
        raise _missing(name, named, root) from error


def _files(dataset: Any, name: str) -> tuple[list[str], list[int]]:
    """The picture files of a set and their labels, which torchvision keeps under one of three names."""
    if hasattr(dataset, "_samples"):
        return [str(f) for f, _ in dataset._samples], [int(label) for _, label in dataset._samples]
    files = getattr(dataset, "_image_files", None) or getattr(dataset, "_images", None)
    if not files:
        raise DataError(f"this torchvision keeps the files of {name!r} in a way that is not known here")
    return [str(f) for f in files], [int(label) for label in dataset._labels]
