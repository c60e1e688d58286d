import io
import struct
import sys
import types
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer.data.decode import UnusableImageError, decode, looks_like_picture, quiet, read_picture
from edgexfer.data.prepare import upright_rgb


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def colour(image: Image.Image) -> tuple[int, ...]:
    return tuple(int(v) for v in np.asarray(image)[0, 0])


def test_greyscale_and_bilevel() -> None:
    assert colour(read_picture(encoded(Image.new("L", (4, 3), 77)))) == (77, 77, 77)
    assert colour(read_picture(encoded(Image.new("1", (4, 3), 1)))) == (255, 255, 255)


def test_palette_without_and_with_transparency() -> None:
    red = Image.new("RGB", (4, 4), (200, 10, 10)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert colour(read_picture(encoded(red))) == (200, 10, 10)
    assert colour(read_picture(encoded(red, transparency=red.getpixel((0, 0))))) == (255, 255, 255)
    assert colour(read_picture(encoded(red, transparency=bytes([0] * 256)))) == (255, 255, 255)


def test_transparency_is_laid_over_white() -> None:
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert colour(read_picture(encoded(half))) == (127, 127, 127)
    assert colour(read_picture(encoded(Image.new("LA", (4, 4), (0, 0))))) == (255, 255, 255)


def test_sixteen_bit_greyscale_keeps_its_range() -> None:
    ramp = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    for form in ("PNG", "TIFF"):
        read = np.asarray(read_picture(encoded(Image.fromarray(ramp), form)))
        assert read[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
        assert (read[..., 0] == read[..., 2]).all()


def test_cmyk_jpeg() -> None:
    red, green, blue = colour(read_picture(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    wide = Image.fromarray(np.arange(6 * 4, dtype=np.uint8).reshape(4, 6) * 10).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    with quiet():
        turned, size, _ = decode(encoded(wide, "PNG", exif=exif))
    assert size == ((4, 6) if orientation < 5 else (6, 4)) == (turned.height, turned.width)
    pixels = np.asarray(wide)
    ours = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1), 7: np.rot90(pixels.swapaxes(0, 1), 2), 8: np.rot90(pixels),
    }[orientation]  # fmt: skip
    assert np.array_equal(np.asarray(turned), ours)


def test_broken_exif_counts_as_upright() -> None:
    content = encoded(Image.new("RGB", (20, 10), "blue"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert read_picture(content).size == (20, 10)


def test_animations_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "lime", "blue")]
    for form in ("GIF", "PNG", "WEBP", "TIFF"):
        content = encoded(
            frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {})
        )
        with quiet():
            first, _, count = decode(content)
        assert (colour(first), count) == ((255, 0, 0), 3), form


def test_pictures_of_a_phone_are_no_animation() -> None:
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    with quiet():
        image, _, frames = decode(encoded(first, "MPO", save_all=True, append_images=[second]))
    assert frames == 1 and colour(image)[0] > 240


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_truncated_at_any_place_is_reported_never_a_crash(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), form)
    refused = 0
    for cut in range(1, 20):
        try:
            read_picture(content[: len(content) * cut // 20])
        except UnusableImageError as error:
            assert str(error).startswith(("is ", "cannot be ", "has "))
            refused += 1
    assert refused >= 18


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "TGA", "ICO", "PPM"])
def test_flipped_bytes_are_read_or_reported_never_a_crash(form: str) -> None:
    rng = np.random.default_rng(1)
    content = bytearray(encoded(Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)), form))
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 200), 4):
            damaged[place] = rng.integers(0, 256)
        try:
            with quiet():
                decode(bytes(damaged), thumbnail=True)
        except UnusableImageError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, world, this is text", "is not a picture that Pillow knows; convert it"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture that Pillow knows"),
    ],
)
def test_what_is_no_picture(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        read_picture(content)


def test_truncation_names_its_remedy() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), "JPEG")
    with pytest.raises(UnusableImageError, match=r"is truncated \(.*\); copy it again or remove it"):
        read_picture(content[: len(content) // 2])


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [14_000, 60_000])
def test_decompression_bombs(side: int) -> None:
    with pytest.raises(UnusableImageError, match=r"decompression bomb\?\); scale it down"):
        read_picture(bomb(side, side))


def test_large_but_honest_pictures_pass_without_a_warning() -> None:
    content = encoded(Image.new("1", (10_000, 9_500)))  # beyond Pillow's warning, below its limit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(content).size == (10_000, 9_500)


def test_ribbons_are_refused() -> None:
    with pytest.raises(UnusableImageError, match="1 x 500 pixels, more than 100 times longer than wide; crop it"):
        read_picture(encoded(Image.new("RGB", (1, 500))))


def test_floating_point_and_wide_integers_are_refused() -> None:
    with pytest.raises(UnusableImageError, match="^has floating point pixels; save it with 8 bits"):
        read_picture(encoded(Image.new("F", (4, 4), 0.5), "TIFF"))
    with pytest.raises(UnusableImageError, match="^has integers beyond 16 bits as pixels; save it with 8 bits"):
        read_picture(encoded(Image.new("I", (4, 4), 70_000), "TIFF"))
    assert colour(read_picture(encoded(Image.new("I", (4, 4), 65_535), "TIFF"))) == (255, 255, 255)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64


def test_heic_without_its_reader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnusableImageError, match=r"is a HEIC picture; pip install 'edgexfer\[heic\]'"):
        read_picture(HEIC)


def test_heic_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (9, 7), "red")
    image.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turned already
    reader = types.SimpleNamespace(open_heif=lambda _: types.SimpleNamespace(size=(9, 7), to_pillow=lambda: image))
    monkeypatch.setitem(sys.modules, "pillow_heif", reader)
    assert read_picture(HEIC).size == (9, 7)


def test_damaged_heic_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise ValueError("Invalid input: no 'meta' box")

    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(open_heif=broken))
    with pytest.raises(UnusableImageError, match="cannot be decoded .*meta"):
        read_picture(HEIC)


def test_thumbnail_decoding_keeps_the_full_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.new("RGB", (1000, 700), "red"), "JPEG", exif=exif)
    with quiet():
        small, size, _ = decode(content, thumbnail=True)
    assert size == (1000, 700) and small.height < 1000


def test_signatures() -> None:
    assert looks_like_picture(encoded(Image.new("RGB", (2, 2)))[:16])
    assert looks_like_picture(encoded(Image.new("RGB", (2, 2)), "WEBP")[:16])
    assert looks_like_picture(HEIC[:16])
    assert looks_like_picture(encoded(Image.new("RGB", (2, 2)), "BMP")[:16])
    assert not looks_like_picture(b"BMW and other makes")
    assert not looks_like_picture(b"name,label\n1,2\n3")
    assert not looks_like_picture(b"")


def test_upright_rgb_leaves_its_input_alone() -> None:
    image = Image.new("RGBA", (3, 2), (1, 2, 3, 255))
    assert colour(upright_rgb(image)) == (1, 2, 3) and image.mode == "RGBA"
