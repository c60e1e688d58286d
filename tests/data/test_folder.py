import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexfer.data import Splits, load_labelled, load_splits
from edgexfer.errors import DataError

Make = Callable[..., Path]


def views(splits: Splits) -> dict[str, set[str]]:
    named = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: set(view.digests) for name, view in named.items() if view is not None}


def test_flat_folder(folder_of: Make) -> None:
    splits = load_splits(folder_of({"10": 20, "2": 20, "rose": 20}))
    assert splits.classes == ("2", "10", "rose")
    assert splits.test is not None
    assert [len(splits.train), len(splits.val), len(splits.test)] == [42, 9, 9]
    assert splits.image_size == (32, 40)
    assert splits.mirrors and splits.skipped == () and splits.notes == ()
    assert splits.train.labels.dtype == np.int64
    for view in (splits.train, splits.val, splits.test):
        assert len(view) == len(view.files) == len(view.digests) == len(view.labels)
        assert [splits.classes[label] for label in view.labels] == [f.split("/")[0] for f in view.files]
        assert all(np.bincount(view.labels, minlength=3) > 0)
    image = splits.val.read(0)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(Path(splits.source) / splits.val.files[0])))


def test_split_folders_of_any_spelling(folder_of: Make) -> None:
    root = folder_of({"Train/a": 4, "Train/b": 4, "validation/a": 2, "validation/b": 1, "testing/b": 3})
    splits = load_splits(root)
    assert splits.test is not None
    assert [len(splits.train), len(splits.val), len(splits.test)] == [8, 3, 3]
    assert splits.test.labels.tolist() == [1, 1, 1]
    assert splits.train.files[0] == "Train/a/0.png"
    assert splits.notes == ("classes without a picture in test: 'a'",)


def test_val_missing_is_split_from_train_and_test_missing_is_none(folder_of: Make) -> None:
    splits = load_splits(folder_of({"train/a": 20, "train/b": 20}))
    assert splits.test is None
    assert [len(splits.train), len(splits.val)] == [34, 6]
    assert any("no val split: 6 of 40" in n for n in splits.notes)
    assert any("no test split" in n for n in splits.notes)


def test_names_and_order_do_not_matter_but_content_and_seed_do(folder_of: Make, tmp_path: Path) -> None:
    root = folder_of({"a": 12, "b": 12})
    first = load_splits(root)
    other = tmp_path / "other"
    for path in sorted(root.rglob("*.png")):
        (other / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other / path.parent.name / f"{hash(path.name) % 1000:03}_{path.name}")
    second = load_splits(other)
    assert views(second) == views(first)
    assert second.fingerprint == first.fingerprint
    assert views(load_splits(root, seed=1)) != views(first)
    assert load_splits(root, seed=1).fingerprint != first.fingerprint
    next(root.rglob("*.png")).unlink()
    assert load_splits(root).fingerprint != first.fingerprint


def test_five_pictures_a_class(folder_of: Make) -> None:
    splits = load_splits(folder_of({"a": 5, "b": 5, "c": 5}))
    assert splits.test is not None
    for view, count in ((splits.train, 3), (splits.val, 1), (splits.test, 1)):
        assert np.bincount(view.labels).tolist() == [count] * 3


def test_near_duplicates_stay_on_one_side(folder_of: Make) -> None:
    root = folder_of({"a": 15, "b": 15}, size=(120, 90))
    for path in list(root.rglob("*.png")):
        Image.open(path).save(path.with_name(f"copy of {path.stem}.jpg"), quality=60)
    splits = load_splits(root)
    side = {
        f: name
        for name, v in (("train", splits.train), ("val", splits.val), ("test", splits.test))
        if v
        for f in v.files
    }
    assert len(side) == 60
    for file, where in side.items():
        if file.endswith(".png"):
            folder, name = file.split("/")
            assert side[f"{folder}/copy of {name.removesuffix('.png')}.jpg"] == where
    assert any("30 pictures are kept on the side of another" in n for n in splits.notes)


def test_group_by_keeps_patients_together(folder_of: Make) -> None:
    root = folder_of({"ill": 24, "well": 24})
    for path in list(root.rglob("*.png")):
        path.rename(path.with_name(f"patient{int(path.stem) // 3}_{path.parent.name}_{path.stem}.png"))
    splits = load_splits(root, group_by=r"patient\d+")
    seen: dict[str, set[str]] = {}
    for view in (splits.train, splits.val, splits.test):
        assert view is not None
        for file in view.files:
            seen.setdefault(file.split("/")[1].split("_")[0], set()).add(view.name)
    assert all(len(names) == 1 for names in seen.values())
    assert splits.train.groups is not None
    patients = [re.search(r"patient\d+", name).group() for name in splits.train.files]  # type: ignore[union-attr]
    assert len(set(zip(patients, splits.train.groups.tolist(), strict=True))) == len(set(patients))
    assert set(splits.train.groups.tolist()) == set(range(len(set(patients)))), "numbered anew within the split"


def test_bad_pictures_are_skipped_and_counted_or_refused(folder_of: Make) -> None:
    root = folder_of({"a": 6, "b": 6})
    (root / "a/empty.jpg").write_bytes(b"")
    (root / "b/cut.png").write_bytes((root / "b/0.png").read_bytes()[:200])
    (root / "b/raw.CR2").write_bytes(b"II*\0 raw")
    (root / "b/text.jpeg").write_text("<html>404</html>")
    splits = load_splits(root)
    reasons = dict(splits.skipped)
    assert set(reasons) == {"a/empty.jpg", "b/cut.png", "b/raw.CR2", "b/text.jpeg"}
    assert reasons["a/empty.jpg"] == "is empty (0 bytes)"
    assert "raw file; export it as JPEG" in reasons["b/raw.CR2"]
    assert sum(len(v) for v in views(splits).values()) == 12
    with pytest.raises(DataError, match=r"4 pictures cannot be used and strict is on: 'a/empty.jpg' is empty"):
        load_splits(root, strict=True)


def test_a_class_left_without_a_picture_ends_the_run(folder_of: Make) -> None:
    root = folder_of({"a": 4, "b": 0})
    (root / "b/1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture of 'b' can be used: 'b/1.jpg' is empty"):
        load_splits(root)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "is empty; DATA is a folder with one folder a class"),
        ({".": 3}, "holds 3 pictures but no class folders; put the pictures of each class"),
        ({"a": 0, "b": 0}, r"has folders \('a', 'b'\) but no pictures in them"),
        ({"a": 3, "b": 0}, "class folders without any picture: 'b'; add pictures or remove the folders"),
        ({"only": 5}, "has one class only, 'only'; a classifier needs at least two"),
        ({"photos/cat": 2, "photos/dog": 2}, r"did you mean '.*/photos', which holds 'cat', 'dog'\?"),
        ({"a": 1, "b": 1}, "2 pictures in 2 classes are too few; at least one class needs two"),
        ({"test/a": 3, "test/b": 3}, "holds 'test' but no 'train'"),
        ({"train/a": 2, "train/b": 2, "val/a": 1, "valid/a": 1}, "'val', 'valid', which all mean 'val'; keep one"),
        ({"train/a": 2, "train/b": 2, "test/c": 1, "test/d": 1}, "that 'train' has not: 'c', 'd'; known: 'a', 'b'"),
        ({"train/a": 2, "train/b": 2, "test/A": 1}, r"'A' \(is 'a' meant\?\)"),
        ({"Cat": 2, "cat": 2}, "differ only in case, Unicode form or spaces: 'Cat' and 'cat'; merge or rename"),
        ({"train/a": 3, "train/b": 0, "val/a": 1}, "class folders without any picture: 'b'"),
    ],
)  # fmt: skip
def test_clear_answers(folder_of: Make, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_splits(folder_of(counts))


def test_missing_folder_and_file(folder_of: Make, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no folder 'nowhere', and no data set of that name; known sets: digits, cifar10"
    ):
        load_splits("nowhere")
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="a.zip' is a file; DATA is a folder"):
        load_splits(tmp_path / "a.zip")


def test_two_pictures_of_one_class_are_enough_beside_a_lone_one(folder_of: Make) -> None:
    splits = load_splits(folder_of({"a": 2, "b": 1}))
    assert (len(splits.train), len(splits.val), splits.test) == (2, 1, None)
    assert any("too few different pictures for a place in val: 'b'" in n for n in splits.notes)


def test_a_class_without_a_place_in_test_is_named(folder_of: Make) -> None:
    splits = load_splits(folder_of({"a": 12, "b": 2}))
    assert splits.test is not None and not (splits.test.labels == 1).any()
    assert any("too few different pictures for a place in test: 'b'" in n for n in splits.notes)


def test_classes_whose_pictures_come_in_mixed_groups_are_all_learned_from(folder_of: Make) -> None:
    root = folder_of({"a": 60, "b": 4})
    for seed in range(20):  # the first four of both classes were taken together
        splits = load_splits(root, seed=seed, group_by=lambda name: "shared" if int(name[2:-4]) < 4 else name)
        assert {0, 1} <= set(splits.train.labels.tolist()) and len(splits.val)


def test_copies_only_are_too_few(folder_of: Make) -> None:
    root = folder_of({"a": 1, "b": 1})
    for name in ("a", "b"):
        shutil.copy(root / name / "0.png", root / name / "again.png")
    with pytest.raises(DataError, match="4 pictures in 2 classes make only 2 groups that are not copies"):
        load_splits(root)


def test_hidden_clutter_other_loose_and_nested_files(folder_of: Make, draw: Callable[..., Image.Image]) -> None:
    root = folder_of({"a": 4, "b": 4, "b/deeper/still": 2, ".hidden": 3, "__MACOSX": 1})
    (root / "a/.DS_Store").write_bytes(b"x")
    (root / "a/Thumbs.db").write_bytes(b"x")
    (root / "a/notes.txt").write_text("notes")
    draw(1001).save(root / "loose.png")
    draw(1002).save(root / "a/no suffix", "PNG")
    splits = load_splits(root)
    assert splits.classes == ("a", "b")
    files = {f for v in (splits.train, splits.val, splits.test) if v for f in v.files}
    assert len(files) == 11 and "b/deeper/still/0.png" in files and "a/no suffix" in files
    notes = " | ".join(splits.notes)
    assert "1 pictures outside the class folders are left out: 'loose.png'" in notes
    assert "1 files that are no pictures are left out: 'a/notes.txt'" in notes
    assert "folders inside class folders count to the class: 'b'" in notes
    assert "Thumbs" not in notes and "DS_Store" not in notes


def test_a_class_may_be_called_train(folder_of: Make) -> None:
    assert load_splits(folder_of({"train": 5, "bus": 5, "test": 5})).classes == ("bus", "test", "train")


def test_unlabelled_test_pictures_and_other_folders_are_left_out(folder_of: Make) -> None:
    splits = load_splits(folder_of({"train/a": 8, "train/b": 8, "test": 4, "licences": 0}))
    assert splits.test is None
    assert any("folders beside train/ are left out: 'licences', 'test'" in n for n in splits.notes)


def test_names_beyond_ascii_and_in_two_forms(folder_of: Make) -> None:
    composed, apart = "Äpfel 苹果", unicodedata.normalize("NFD", "Äpfel 苹果")
    splits = load_splits(folder_of({f"train/{composed}": 4, "train/b": 4, f"val/{apart}": 2, "val/b": 1}))
    assert splits.classes == ("b", composed)
    assert sorted(splits.val.labels.tolist()) == [0, 1, 1]


def test_undecodable_file_name_is_readable_and_printable(folder_of: Make) -> None:
    root = folder_of({"a": 4, "b": 4})
    os.rename(os.fsencode(root / "a/0.png"), os.fsencode(root / "a") + b"/caf\xe9.png")
    splits = load_splits(root)
    for view in (splits.train, splits.val, splits.test):
        assert view is not None
        for i, file in enumerate(view.files):
            file.encode("utf-8")
            view.read(i)


def test_links_to_folders_and_circles(folder_of: Make) -> None:
    root = folder_of({"a": 4})
    elsewhere = folder_of({"pictures": 4}, name="elsewhere")
    (root / "b").symlink_to(elsewhere / "pictures")
    (root / "a/round").symlink_to(root / "a")
    splits = load_splits(root)
    assert sum(len(v) for v in views(splits).values()) == 8


def test_one_picture_in_two_classes_is_noted_and_kept_on_one_side(folder_of: Make) -> None:
    root = folder_of({"a": 8, "b": 8})
    shutil.copy(root / "a/0.png", root / "b/same.png")
    splits = load_splits(root)
    assert any("1 pictures lie in two classes at once: 'a/0.png = b/same.png'" in n for n in splits.notes)
    owner = [
        v.name for v in (splits.train, splits.val, splits.test) if v for f in v.files if f in ("a/0.png", "b/same.png")
    ]
    assert len(set(owner)) == 1


def test_training_pictures_in_val_and_test_are_noted(folder_of: Make) -> None:
    root = folder_of({"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2, "test/a": 2})
    shutil.copy(root / "train/a/0.png", root / "test/a/again.png")
    assert any("1 pictures of test are also in train: 'test/a/again.png'" in n for n in load_splits(root).notes)


def test_animations_are_noted(folder_of: Make) -> None:
    root = folder_of({"a": 4, "b": 4})
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
    frames[0].save(root / "a/move.gif", save_all=True, append_images=frames[1:])
    assert any(
        "of 1 animated or many-paged pictures the first frame is used: 'a/move.gif'" in n
        for n in load_splits(root).notes
    )


def test_group_by_beside_given_splits_ties_training_pictures_alone(folder_of: Make) -> None:
    root = folder_of({"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 1})
    splits = load_splits(root, group_by=r"(\d)\.png")
    assert any("group_by only ties training pictures" in n for n in splits.notes)
    assert splits.train.groups is not None and splits.train.groups.tolist() == [*range(6), *range(6)]
    assert [len(splits.train), len(splits.val)] == [12, 3]
    with pytest.raises(DataError, match="group_by 'x' is found in none of the 12 file names"):
        load_splits(root, group_by="x")


def test_near_duplicates_beside_given_splits_are_of_one_group(folder_of: Make) -> None:
    root = folder_of({"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2, "test/a": 1, "test/b": 1}, size=(120, 90))
    before = load_splits(root)
    for path in sorted((root / "train/a").glob("*.png")):
        Image.open(path).save(path.with_name(f"{path.stem} copy.jpg"), quality=60)
    splits = load_splits(root)
    assert splits.train.groups is not None
    group = dict(zip(splits.train.files, splits.train.groups.tolist(), strict=True))
    assert len(set(group.values())) == 12
    assert all(group[f"train/a/{i}.png"] == group[f"train/a/{i} copy.jpg"] for i in range(6))
    assert (splits.val.files, splits.notes) == (before.val.files, ())
    plain = splits.untied()
    assert plain.train.groups is None and plain.fingerprint == splits.fingerprint


def test_a_picture_deleted_later_is_named(folder_of: Make) -> None:
    root = folder_of({"a": 4, "b": 4})
    splits = load_splits(root)
    (root / splits.train.files[0]).unlink()
    with pytest.raises(DataError, match=f"{splits.train.files[0]!r} cannot be read any more"):
        splits.train.read(0)
    (root / splits.train.files[1]).write_bytes(b"")
    with pytest.raises(DataError, match=f"{splits.train.files[1]!r} is empty"):
        splits.train.read(1)


def test_load_labelled_takes_test_then_val(folder_of: Make) -> None:
    both = folder_of({"train/a": 4, "train/b": 4, "val/a": 2, "test/b": 3}, name="both")
    view = load_labelled(both, ["b", "x", "a"])
    assert view.name == "test" and view.labels.tolist() == [0, 0, 0]
    view = load_labelled(folder_of({"train/a": 4, "train/b": 4, "val/a": 2}, name="val only"), ["b", "x", "a"])
    assert view.name == "val" and view.labels.tolist() == [2, 2]


def test_load_labelled_whole(folder_of: Make) -> None:
    root = folder_of({"b": 2, "a": 3})
    (root / "a/bad.jpg").write_bytes(b"")
    view = load_labelled(root, ["x", "a", "b"], whole=True)
    assert (view.name, view.labels.tolist()) == ("all", [1, 1, 1, 2, 2])
    assert view.skipped == (("a/bad.jpg", "is empty (0 bytes)"),)
    assert view.read(4).size == (40, 32)
    with pytest.raises(DataError, match="strict is on and 'a/bad.jpg' is empty"):
        load_labelled(root, ["x", "a", "b"], whole=True, strict=True)
    split = folder_of({"train/a": 4, "train/b": 4, "val/a": 2}, name="split")
    everything = load_labelled(split, ["a", "b"], whole=True)
    assert len(everything) == 10 and len({everything.read(i).tobytes() for i in range(10)}) == 10


def test_load_labelled_one_class_is_fine(folder_of: Make) -> None:
    assert load_labelled(folder_of({"b": 2}), ["a", "b"], whole=True).labels.tolist() == [1, 1]


@pytest.mark.parametrize("whole", [True, False])
def test_load_labelled_lists_unknown_classes(folder_of: Make, whole: bool) -> None:
    root = folder_of({"cat": 6, "dog": 6, "Eel": 6})
    with pytest.raises(DataError, match=r"'dog'.*'?Eel|Eel.*'dog'"):
        load_labelled(root, ["cat", "eel"], whole=whole)


def test_load_labelled_nothing_readable(folder_of: Make) -> None:
    root = folder_of({"a": 0})
    (root / "a/bad.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="holds no picture that can be read: 'a/bad.jpg' is empty"):
        load_labelled(root, ["a"], whole=True)


def test_fractions_are_checked(folder_of: Make) -> None:
    with pytest.raises(DataError, match="allowed: val_split above 0"):
        load_splits(folder_of({"a": 5, "b": 5}), val_split=0)


def test_no_test_split_wanted(folder_of: Make) -> None:
    splits = load_splits(folder_of({"a": 10, "b": 10}), test_split=0)
    assert splits.test is None and len(splits.train) + len(splits.val) == 20


def test_an_empty_name_is_not_the_folder_here() -> None:
    with pytest.raises(DataError, match="there is no folder ''"):
        load_splits("")
