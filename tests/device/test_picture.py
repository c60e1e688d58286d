from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexfer import device
from edgexfer.data import prepare_image
from edgexfer.data.decode import read_picture
from edgexfer.preprocessing import Preprocessing

picture = device.load("_edgexfer_picture")
DeviceError = device.load("_edgexfer_environment").DeviceError
RULES = [
    Preprocessing((32, 32), 37),
    Preprocessing((31, 24), 36, interpolation="bicubic"),
    Preprocessing((32, 48), None, crop="none"),
]
SIZES = [(300, 200), (199, 301), (33, 1000), (37, 37), (5, 7), (641, 479), (32, 48)]


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    generator = np.random.default_rng(size)
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65536, (size[1], size[0])).astype(np.uint16))
    return Image.fromarray(generator.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("rule", RULES, ids=["center", "bicubic", "none"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_those_of_evaluation_bit_for_bit(size: tuple[int, int], rule: Preprocessing) -> None:
    image = noise(size)
    pixels = picture.prepare(image, rule.to_dict())
    assert pixels.shape == (*rule.input_size, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, prepare_image(image, rule))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV", "1", "I;16"])
def test_every_mode_becomes_the_same_rgb(mode: str) -> None:
    image = noise((61, 43), mode)
    np.testing.assert_array_equal(picture.prepare(image, RULES[0].to_dict()), prepare_image(image, RULES[0]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    noise((61, 43)).save(path, exif=exif)
    expected = prepare_image(read_picture(path.read_bytes()), RULES[2])
    np.testing.assert_array_equal(picture.read(str(path), RULES[2].to_dict()), expected)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    content = {"empty.jpg": b"", "text.png": b"hello, world", "phone.heic": b"\0\0\0\x18ftypheic" + bytes(20)}
    noise((61, 43)).save(tmp_path / "whole.png")
    content["cut.png"] = (tmp_path / "whole.png").read_bytes()[:3000]
    says = {
        "empty.jpg": "is empty (0 bytes)",
        "text.png": "is not a picture that Pillow knows",
        "phone.heic": "is a HEIC picture; save it as JPEG",
        "cut.png": "is truncated",
        "none.png": "cannot be read: No such file or directory",
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    for name, message in says.items():
        with pytest.raises(DeviceError) as caught:
            picture.read(str(tmp_path / name), RULES[0].to_dict())
        assert name in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(("size", "says"), [((1, 200), "100 times longer than wide"), ((15000, 15000), "megapixels")])
def test_absurd_sizes_are_refused(tmp_path: Path, size: tuple[int, int], says: str) -> None:
    Image.new("1", size).save(tmp_path / "odd.png")
    with pytest.raises(DeviceError, match=says):
        picture.read(str(tmp_path / "odd.png"), RULES[0].to_dict())


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="floating point"):
        picture.prepare(Image.new("F", (40, 40)), RULES[0].to_dict())


def test_a_folder_gives_its_pictures_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.jpg", "9.JPG", "notes.txt", "deep/1.png", ".hidden/2.png", "._3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = picture.find([str(tmp_path), "other.xyz"])
    assert found == [*(str(tmp_path / name) for name in ("9.JPG", "10.jpg", "deep/1.png")), "other.xyz"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="holds no pictures"):
        picture.find([str(tmp_path)])
