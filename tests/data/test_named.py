import gzip
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer.data import load_labelled, load_splits
from edgexfer.data.idx import read_idx
from edgexfer.data.named import named_sets
from edgexfer.errors import DataError
from edgexfer.torchvision_import import import_torchvision

Draw = Callable[..., Image.Image]
SETS = [
    "cifar10", "cifar100", "mnist", "fashion-mnist", "flowers102", "food101", "oxford-iiit-pet", "stanford-cars",
    "fgvc-aircraft",
]  # fmt: skip


def idx(values: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A small MNIST in torchvision's layout: train gzipped, test half and half."""
    raw = tmp_path / "root/mnist/MNIST/raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return tmp_path / "root"


def test_the_names() -> None:
    assert list(named_sets()) == SETS


def test_digits() -> None:
    splits = load_splits("digits")
    assert splits.classes == tuple("0123456789")
    assert splits.test is not None
    assert len(splits.train) + len(splits.val) + len(splits.test) == 1797
    assert [len(splits.val), len(splits.test)] == [269, 269]
    assert (splits.image_size, splits.mirrors, splits.skipped) == ((8, 8), False, ())
    first = np.asarray(splits.train.read(0))
    assert (
        first.shape == (8, 8, 3)
        and max(np.asarray(splits.train.read(i)).max() for i in range(9)) == 255
        and (first[..., 0] == first[..., 1]).all()
    )
    assert splits.train.files[0].startswith("digits/")
    # pinned: scores on the digits are compared from release to release
    assert splits.fingerprint == load_splits("digits").fingerprint
    assert splits.fingerprint.startswith("8094156b9b479a34")


def test_digits_labelled() -> None:
    view = load_labelled("digits", [*reversed("0123456789")])
    assert view.name == "test" and len(view) == 269
    plain = load_splits("digits").test
    assert plain is not None and (9 - view.labels == plain.labels).all()
    assert len(load_labelled("digits", "0123456789", whole=True)) == 1797
    with pytest.raises(DataError, match=r"the model does not know: '5', '6'.*it knows '0', '1'"):
        load_labelled("digits", ["0", "1", "2", "3", "4", "7", "8", "9"])


def test_mnist_is_read_packed_and_from_a_read_only_folder(mnist: Path) -> None:
    raw = mnist / "mnist/MNIST/raw"
    before = sorted(os.listdir(raw))
    raw.chmod(0o555)
    try:
        splits = load_splits("mnist", data_root=mnist)
    finally:
        raw.chmod(0o755)
    assert sorted(os.listdir(raw)) == before
    assert splits.test is not None
    assert [len(splits.train), len(splits.val), len(splits.test)] == [50, 10, 20]
    assert splits.classes == tuple("0123456789") and not splits.mirrors and splits.image_size == (28, 28)
    assert splits.test.labels.tolist() == [*range(10)] * 2
    assert splits.test.read(3).mode == "RGB"


def test_a_set_in_the_root_itself(mnist: Path) -> None:
    assert (
        load_splits("mnist", data_root=mnist / "mnist").fingerprint == load_splits("mnist", data_root=mnist).fingerprint
    )


def test_fashion_names_are_in_natural_order(mnist: Path) -> None:
    (mnist / "fashion-mnist").mkdir()
    (mnist / "mnist/MNIST").rename(mnist / "fashion-mnist/FashionMNIST")
    splits = load_splits("fashion-mnist", data_root=mnist)
    assert splits.classes[:3] == ("Ankle boot", "Bag", "Coat") and splits.mirrors
    assert splits.test is not None
    assert (
        splits.classes[splits.test.labels[0]] == "T-shirt/top" and splits.classes[splits.test.labels[9]] == "Ankle boot"
    )


@pytest.mark.parametrize("name", [s for s in SETS if s != "stanford-cars"])
def test_a_missing_set_names_the_remedy(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"'{name}' is not in .*pass --download to fetch it there, or say with --data-root"
    ):
        load_splits(name, data_root=tmp_path)


@pytest.mark.parametrize("download", [False, True])
def test_missing_cars_say_which_files_go_where(tmp_path: Path, download: bool) -> None:
    with pytest.raises(
        DataError, match=r"address is dead.*devkit/cars_meta.mat.*cars_test_annos_withlabels.mat.*cars_train/"
    ):
        load_splits("stanford-cars", data_root=tmp_path, download=download)


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(import_torchvision().datasets.MNIST, "download", offline)
    with pytest.raises(DataError, match="'mnist' could not be fetched into '.*mnist': no route to host"):
        load_splits("mnist", data_root=tmp_path, download=True)


def test_download_is_only_asked_of_torchvision_when_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    class Fake:
        def __init__(self, root: str, download: bool, **_: Any) -> None:
            asked.append(download)
            raise RuntimeError("Dataset not found")

    monkeypatch.setattr(import_torchvision().datasets, "CIFAR10", Fake)
    for download in (False, True):
        with pytest.raises(DataError):
            load_splits("cifar10", data_root=tmp_path, download=download)
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"\0\0\x08\x01", mtime=0)[:12], "cannot be read"),
        (b"\x1f\x8bgarbage that is no gzip", "cannot be read"),
        (b"hello", "is not an idx file of unsigned bytes"),
        (b"", "is not an idx file of unsigned bytes"),
        (idx(np.zeros((4, 2)))[:-1], "holds 7 bytes where its head says 8"),
    ],
)
def test_damaged_idx_files_name_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{message}.*; delete it and fetch it again \(--download\)"):
        read_idx(path)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(3), "train has .* pictures, .* labels"),
        ("t10k-labels-idx1-ubyte", np.full(20, 11), "labels of t10k are not 0 to 9"),
    ],
)
def test_idx_files_that_do_not_fit(mnist: Path, file: str, values: np.ndarray, message: str) -> None:
    (mnist / "mnist/MNIST/raw" / file).write_bytes(idx(values))
    with pytest.raises(DataError, match=message):
        load_splits("mnist", data_root=mnist)


def test_a_class_folder_of_the_name_under_the_root(folder_of: Callable[..., Path], tmp_path: Path) -> None:
    folder_of({"train/cat": 4, "train/dog": 4, "val/cat": 1}, name="root/cifar10")
    splits = load_splits("cifar10", data_root=tmp_path / "root")
    assert splits.classes == ("cat", "dog") and len(splits.train) == 8


def test_a_folder_of_the_same_name_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"the folder of that name here is \./cifar10"):
        load_splits("cifar10")


def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "cifar10/cifar-10-batches-py"
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {"data": rng.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": [*range(10)]}
        (base / name).write_bytes(pickle.dumps(batch))
    names = ["z", *(f"c{i}" for i in range(1, 10))]
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    cifar = import_torchvision().datasets.cifar  # never by its dotted name: that imports torchvision unprepared
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)
    splits = load_splits("cifar10", data_root=tmp_path)
    assert splits.classes[0] == "c1" and splits.classes[9] == "z"
    assert splits.test is not None and splits.test.labels.tolist() == [9, *range(9)]
    assert [len(splits.train), len(splits.val)] == [40, 10]
    assert splits.train.read(0).size == (32, 32)


def pictures(folder: Path, draw: Draw, names: list[str], start: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        draw(start + i).save(folder / f"{name}.jpg", quality=95)


def test_food(tmp_path: Path, draw: Draw) -> None:
    base = tmp_path / "food101/food-101"
    (base / "meta").mkdir(parents=True)
    for i, split in enumerate(("train", "test")):
        listed = {c: [f"{c}/{split}{n}" for n in range(4)] for c in ("pie", "apple")}
        (base / f"meta/{split}.json").write_text(json.dumps(listed))
        for j, c in enumerate(listed):
            pictures(base / "images" / c, draw, [f"{split}{n}" for n in range(4)], 100 * i + 10 * j)
    (base / "images/pie/train0.jpg").write_bytes(b"")
    splits = load_splits("food101", data_root=tmp_path)
    assert splits.classes == ("apple", "pie")
    assert splits.test is not None and len(splits.test) == 8 and len(splits.train) + len(splits.val) == 7
    assert splits.skipped == (("food-101/images/pie/train0.jpg", "is empty (0 bytes)"),)
    for view in (splits.train, splits.val, splits.test):
        assert [splits.classes[label] for label in view.labels] == [f.split("/")[2] for f in view.files]


def test_aircraft(tmp_path: Path, draw: Draw) -> None:
    data = tmp_path / "fgvc-aircraft/fgvc-aircraft-2013b/data"
    pictures(data / "images", draw, [f"{i:03}" for i in range(12)], 0)
    (data / "variants.txt").write_text("707-320\nA300 B4\n")
    for i, split in enumerate(("train", "val", "test")):
        lines = [f"{4 * i + k:03} {'707-320' if k % 2 else 'A300 B4'}" for k in range(4)]
        (data / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    splits = load_splits("fgvc-aircraft", data_root=tmp_path)
    assert splits.classes == ("707-320", "A300 B4")
    assert splits.test is not None
    assert [v.labels.tolist() for v in (splits.train, splits.val, splits.test)] == [[1, 0, 1, 0]] * 3


def test_pets(tmp_path: Path, draw: Draw) -> None:
    base = tmp_path / "oxford-iiit-pet/oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for i, split in enumerate(("trainval", "test")):
        names = [f"{breed}_{split}{n}" for breed in ("Abyssinian", "great_pyrenees") for n in range(4)]
        names = [n.replace("_" + split, f"_{i}") for n in names]
        pictures(base / "images", draw, names, 100 * i)
        lines = [f"{name} {1 + n // 4} 1 1" for n, name in enumerate(names)]
        (base / f"annotations/{split}.txt").write_text("\n".join(lines) + "\n")
    splits = load_splits("oxford-iiit-pet", data_root=tmp_path)
    assert splits.classes == ("Abyssinian", "Great Pyrenees")
    assert splits.test is not None and splits.test.labels.tolist() == [0] * 4 + [1] * 4


def test_cars(tmp_path: Path, draw: Draw) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    base = tmp_path / "stanford-cars/stanford_cars"
    (base / "devkit").mkdir(parents=True)
    names = np.array(["Volvo", "Audi"], dtype=object)
    scipy_io.savemat(base / "devkit/cars_meta.mat", {"class_names": names})
    for i, (split, file) in enumerate(
        [("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")]
    ):
        pictures(base / f"cars_{split}", draw, [f"{n:05}" for n in range(6)], 100 * i)
        rows = [(f"{n:05}.jpg", 1 + n % 2) for n in range(6)]
        table = np.array(rows, dtype=[("fname", object), ("class", object)])
        scipy_io.savemat(base / file, {"annotations": table})
    splits = load_splits("stanford-cars", data_root=tmp_path)
    assert splits.classes == ("Audi", "Volvo")
    assert splits.test is not None and splits.test.labels.tolist() == [1, 0] * 3


def test_flowers(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    base = tmp_path / "flowers102/flowers-102"
    flowers = import_torchvision().datasets.Flowers102
    monkeypatch.setattr(flowers, "_check_integrity", lambda _: True)
    names = [f"image_{i:05d}" for i in range(1, 103 * 2 + 1)]
    (base / "jpg").mkdir(parents=True)
    for i, name in enumerate(names):
        draw(i, (20, 20)).save(base / "jpg" / f"{name}.jpg")
    labels = np.array([1 + i % 102 for i in range(len(names))])
    scipy_io.savemat(base / "imagelabels.mat", {"labels": labels})
    ids = {"trnid": np.arange(1, 103), "valid": np.arange(103, 150), "tstid": np.arange(150, 207)}
    scipy_io.savemat(base / "setid.mat", ids)
    splits = load_splits("flowers102", data_root=tmp_path)
    assert len(splits.classes) == 102 and splits.test is not None
    assert [len(splits.train), len(splits.val), len(splits.test)] == [102, 47, 57]
    assert splits.classes[splits.train.labels[0]] == "pink primrose"


def test_unknown_classes_of_an_old_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self, *_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(import_torchvision().datasets, "Food101", Old)
    with pytest.raises(DataError, match="does not name the classes of 'food101'; pip install -U torchvision"):
        load_splits("food101", data_root=tmp_path)
    Old.classes = ["a", "b"]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="keeps the files of 'food101' in a way that is not known here"):
        load_splits("food101", data_root=tmp_path)
