from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexfer.data import UNLABELLED, Loader, build_store, load_splits, with_unlabelled
from edgexfer.errors import DataError
from edgexfer.preprocessing import square


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for number in range(10):
        noise(tmp_path / "data" / "cat" / f"{number}.png", number)
        noise(tmp_path / "data" / "dog" / f"{number}.png", 100 + number)
    return tmp_path / "data"


def test_pictures_join_the_training_ones_without_a_label(labelled: Path, tmp_path: Path) -> None:
    for number in range(3):
        noise(tmp_path / "more" / "of any kind" / f"{number}.png", 200 + number)
    noise(tmp_path / "more" / ".hidden" / "0.png", 300)
    (tmp_path / "more" / "notes.txt").write_text("no picture")
    plain = load_splits(labelled)
    splits = with_unlabelled(plain, tmp_path / "more")
    assert splits.train.labels.tolist() == [*plain.train.labels.tolist(), *[UNLABELLED] * 3]
    assert splits.fingerprint == plain.fingerprint and splits.val is plain.val
    assert splits.train.files[-3:] == ("of any kind/0.png", "of any kind/1.png", "of any kind/2.png")
    with Image.open(tmp_path / "more" / "of any kind" / "2.png") as picture:
        assert np.array_equal(np.asarray(splits.train.read(len(splits.train) - 1)), np.asarray(picture))
    assert any(note.startswith("3 pictures without labels from") for note in splits.notes)
    rule = square(16)
    loader = Loader(
        build_store(splits.train, rule), splits.train.labels, rule, 8, train=True, seed=0, mirrors=True, mixup=1.0
    )
    labels = np.concatenate([batch["labels"].numpy() for batch in loader])
    assert sorted(labels.tolist()) == sorted(splits.train.labels.tolist())


def test_what_the_data_set_holds_already_is_left_out(labelled: Path, tmp_path: Path) -> None:
    plain = load_splits(labelled)
    assert plain.test is not None
    for view in (plain.train, plain.val, plain.test):
        source = labelled / view.files[0]
        (tmp_path / "more").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "more" / f"{view.name}.png")
    with pytest.raises(DataError, match="holds no picture to learn from: 3 are in the data set already, 0 cannot"):
        with_unlabelled(plain, tmp_path / "more")
    noise(tmp_path / "more" / "new.png", 400)
    shutil.copy(tmp_path / "more" / "new.png", tmp_path / "more" / "new again.png")
    (tmp_path / "more" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing")
    splits = with_unlabelled(plain, tmp_path / "more")
    assert len(splits.train) == len(plain.train) + 1
    assert any(note.startswith("4 pictures without labels are left out") for note in splits.notes)
    assert [name for name, _ in splits.skipped] == ["broken.png"]


def test_mistakes_are_named(labelled: Path, tmp_path: Path) -> None:
    plain = load_splits(labelled)
    with pytest.raises(DataError, match="there is no folder"):
        with_unlabelled(plain, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="--unlabelled takes a folder of further pictures"):
        with_unlabelled(plain, tmp_path / "empty")
