import errno
import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgexfer.data import View, build_store, eval_pixels, load_labelled, load_splits, prepare_image, share_store, store
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing, square


def view_of(images: list[Image.Image]) -> View:
    count = len(images)
    names = tuple(str(i) for i in range(count))
    return View("train", names, np.zeros(count, np.int64), lambda i: images[i], names)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


RULES = [
    square(32),
    square(64),
    Preprocessing((20, 28), 33, "center", "bicubic"),
    Preprocessing((24, 16), None, "none", "bicubic"),
    Preprocessing((31, 31), 31),
]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=5),
    st.sampled_from(RULES),
)
def test_eval_pixels_are_prepare_image_for_every_aspect(sizes: list[tuple[int, int]], rule: Preprocessing) -> None:
    images = [noise(w, h, i) for i, (w, h) in enumerate(sizes)]
    built = build_store(view_of(images), rule)
    got = eval_pixels(built, range(len(images)), rule).numpy()
    assert got.dtype == np.uint8 and got.shape == (len(images), *rule.input_size, 3)
    for row, image in zip(got, images, strict=True):
        assert np.array_equal(row, prepare_image(image, rule))


def test_files_of_every_kind_equal_prepare_image_of_the_opened_file(tmp_path: Path) -> None:
    folder = tmp_path / "set/a"
    folder.mkdir(parents=True)
    image = noise(400, 300)
    exif = Image.Exif()
    exif[0x0112] = 8
    image.save(folder / "0.jpg", exif=exif)  # JPEG: never decoded at a fraction of its size
    image.convert("P").save(folder / "1.png")
    image.convert("CMYK").save(folder / "2.jpg")
    Image.fromarray(np.arange(300 * 400, dtype=np.uint32).reshape(300, 400).astype(np.uint16)).save(folder / "3.png")
    image.convert("RGBA").save(folder / "4.webp")
    view = load_labelled(tmp_path / "set", ["a"], whole=True)
    rule = square(64)
    got = eval_pixels(build_store(view, rule), range(5), rule).numpy()
    for row, name in zip(got, view.files, strict=True):
        with Image.open(tmp_path / "set" / name) as opened:
            assert np.array_equal(row, prepare_image(opened, rule)), name


def test_aspect_is_kept_and_indices_may_repeat() -> None:
    built = build_store(view_of([noise(90, 60), noise(60, 90, 1)]), square(32))
    assert [built[0].shape, built[1].shape] == [(32, 48, 3), (48, 32, 3)]
    assert len(built) == 2 and built.size_bytes == 2 * 32 * 48 * 3 and not built.mapped
    pixels = eval_pixels(built, [1, 0, 1], square(32))
    assert (pixels[0] == pixels[2]).all()
    with pytest.raises(ValueError, match="read-only"):
        built[0][0, 0, 0] = 1


def test_beyond_the_limit_it_is_a_file_that_leaves_nothing_behind(own_cache: Path) -> None:
    images = [noise(50, 40, i) for i in range(40)]
    small = build_store(view_of(images), square(32))
    big = build_store(view_of(images), square(32), limit_bytes=20_000)
    assert big.mapped and not small.mapped
    assert all(np.array_equal(big[i], small[i]) for i in range(40))
    assert list((own_cache / "pixels").iterdir()) == []
    del big
    gc.collect()


def test_a_full_disk_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "_nameless_file", full)
    with pytest.raises(
        DataError, match="do not fit on the disk of .*: No space left on device; free space, set EDGEXFER_CACHE"
    ):
        build_store(view_of([noise(50, 40)]), square(32), limit_bytes=10)


def test_a_full_disk_leaves_no_shared_file_behind(own_cache: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match="do not fit on the disk of .*: File too large; free space, set EDGEXFER"):
            share_store(view_of([noise(64, 64, i) for i in range(40)]), square(64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((own_cache / "pixels").iterdir()) == []


def test_a_shared_file_serves_as_the_store_itself(own_cache: Path) -> None:
    view, said = view_of([noise(50, 40, i) for i in range(5)]), []
    shared = share_store(view, square(32), progress=lambda *done: said.append(done))
    mine, theirs = build_store(view, square(32)), shared.open(square(32))
    shared.path.unlink()
    assert theirs.mapped and all(np.array_equal(theirs[i], mine[i]) for i in range(5))
    assert said == [(i + 1, 5) for i in range(5)]


def test_progress() -> None:
    said: list[tuple[int, int]] = []
    build_store(view_of([noise(9, 9)] * 40), square(32), progress=lambda *done: said.append(done))
    assert said == [(i + 1, 40) for i in range(40)]


def test_another_rule_is_refused_and_a_compatible_one_is_not() -> None:
    built = build_store(view_of([noise(90, 60)]), Preprocessing((32, 32), 40))
    assert eval_pixels(built, [0], Preprocessing((40, 24), 40)).shape == (1, 40, 24, 3)
    for other in (
        square(32),
        Preprocessing((32, 32), 40, interpolation="bicubic"),
        Preprocessing((32, 32), None, "none"),
    ):
        with pytest.raises(DataError, match="scaled by resize 40, bilinear.*build the store with"):
            eval_pixels(built, [0], other)


def test_an_unreadable_picture_is_named(folder_of: Callable[..., Path]) -> None:
    root = folder_of({"a": 20, "b": 20})
    splits = load_splits(root)
    (root / splits.train.files[3]).unlink()
    with pytest.raises(DataError, match=splits.train.files[3]):
        build_store(splits.train, square(32))


def test_digits_store() -> None:
    splits = load_splits("digits")
    built = build_store(splits.val, square(8))
    assert np.array_equal(eval_pixels(built, [5], square(8))[0].numpy(), np.asarray(splits.val.read(5)))


def test_file_views_travel_to_other_processes(folder_of: Callable[..., Path]) -> None:
    splits = load_splits(folder_of({"a": 4, "b": 4}))
    again = pickle.loads(pickle.dumps(splits))
    assert again.fingerprint == splits.fingerprint
    assert again.train.read(0).tobytes() == splits.train.read(0).tobytes()
