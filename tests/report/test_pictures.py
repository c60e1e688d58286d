"""Pictures beside predictions: found where they are, never anywhere else, and gone without harm."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer.report.pictures import SIDE, default_reader, thumbnail
from edgexfer.runs import Run, read_run


@pytest.fixture
def photos(make: Any, tmp_path: Path) -> tuple[Run, Path]:
    data = tmp_path / "photos"
    names = make.photos(data, ("cat", "dog"), 4)
    recipe = {"data": "photos", "data_path": str(data)}
    run = make.run(tmp_path / "run", classes=("cat", "dog"), files=names, images=4, recipe=recipe)
    return read_run(run), data


def decoded(address: str | None) -> Image.Image:
    assert address is not None
    head, _, body = address.partition(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_a_photo_becomes_a_small_jpeg(photos: tuple[Run, Path]) -> None:
    picture = decoded(thumbnail(photos[0], "cat/photo 0.jpg", default_reader()))
    assert picture.format == "JPEG"
    assert picture.size == (SIDE, SIDE * 120 // 160)


def test_a_photo_in_a_split_folder_is_found(photos: tuple[Run, Path]) -> None:
    (photos[1] / "test").mkdir()
    (photos[1] / "cat").rename(photos[1] / "test/cat")
    assert thumbnail(photos[0], "cat/photo 0.jpg", default_reader()) is not None


def test_a_digit_is_scikit_learns_own(make: Any, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    run = read_run(make.run(tmp_path / "run", images=10))
    picture = decoded(thumbnail(run, "digits/0123", default_reader()))
    assert picture.size == (8, 8)
    expected = np.rint(load_digits().images[123] * 255 / 16)
    assert np.array_equal(np.asarray(picture.convert("L")), expected)
    assert thumbnail(run, "digits/9999", default_reader()) is None


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/passwd", "cat/../../secret.png", "", "gone.jpg", "cat", "x\0y"]
)
def test_names_that_lead_out_or_nowhere_give_nothing(photos: tuple[Run, Path], file: str) -> None:
    Image.new("RGB", (4, 4)).save(photos[1].parent / "secret.png")
    assert thumbnail(photos[0], file, default_reader()) is None


def test_what_is_no_picture_gives_nothing(photos: tuple[Run, Path]) -> None:
    (photos[1] / "cat/photo 0.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    assert thumbnail(photos[0], "cat/photo 0.jpg", default_reader()) is None


def test_a_picture_too_large_to_decode_gives_nothing(photos: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert thumbnail(photos[0], "cat/photo 0.jpg", default_reader()) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_a_thumbnail(photos: tuple[Run, Path], mode: str) -> None:
    ramp = Image.fromarray(np.arange(200 * 160, dtype=np.int32).reshape(160, 200))
    picture = ramp.convert(mode) if mode in ("I", "F") else Image.linear_gradient("L").convert("RGBA")
    if mode == "I;16":
        picture = Image.fromarray(np.arange(200 * 160, dtype=np.uint16).reshape(160, 200))
    elif mode not in ("I", "F", "RGBA"):
        picture = Image.linear_gradient("L").convert("RGB").convert("L" if mode == "LA" else mode).convert(mode)
    small = np.asarray(decoded(thumbnail(photos[0], "x", lambda run, file: picture)).convert("L"))
    assert small.min() < 40 and small.max() > 215


def test_a_rotated_photo_stands_upright(photos: tuple[Run, Path]) -> None:
    picture = Image.new("RGB", (200, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif)
    found = decoded(thumbnail(photos[0], "x", lambda run, file: Image.open(stream)))
    assert found.size == (SIDE // 2, SIDE)
