"""Opening picture files that came from anywhere: what each is, or in one clause why it cannot be used."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator
from typing import Any

from PIL import Image, UnidentifiedImageError

from edgexfer.data.prepare import upright_rgb

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp .tif .tiff .ppm .pgm .pbm .pnm .heic .heif .hif .avif .jp2 .j2k"
    " .mpo .tga .ico .apng .psd".split()
)
RAW_SUFFIXES = frozenset(".cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .pef .srw".split())
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb: 512 MB of RGB
MAX_ASPECT = 100
HEIC_REMEDY = "is a HEIC picture; pip install 'edgexfer[heic]' reads it, or export it as JPEG"

_FORMATS = "JPEG PNG GIF BMP DIB WEBP TIFF PPM AVIF JPEG2000 TGA ICO PSD".split()
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnusableImageError(Exception):
    """Why a picture cannot be used, as the rest of a sentence that begins with its name."""


def read_picture(content: bytes) -> Image.Image:
    """Decodes the content of a picture file: upright, RGB, full size.

    Raises:
        UnusableImageError: It cannot be decoded; the reason is the message.
    """
    with quiet():
        return decode(content)[0]


def decode(content: bytes, *, thumbnail: bool = False) -> tuple[Image.Image, tuple[int, int], int]:
    """Decodes a picture file; call inside ``quiet()`` (which threads cannot enter each for itself).

    Args:
        content: The whole file.
        thumbnail: Whether a JPEG may be decoded at a fraction of its size (no fewer than 64 pixels a side), which
            reads the whole file all the same and is several times faster. Never for pixels that a network sees.

    Returns:
        The picture upright in RGB, its full upright ``(H, W)``, and its number of frames.

    Raises:
        UnusableImageError: It cannot be decoded; the reason is the message.
    """
    if not content:
        raise UnusableImageError("is empty (0 bytes)")
    try:
        with _opened(content) as image:
            size = _checked_size(image.size)
            frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
            if thumbnail:
                image.draft(image.mode, (64, 64))
            image.load()
            upright = upright_rgb(image)
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError(
            "is not a picture that Pillow knows; convert it to JPEG or PNG, or remove it"
        ) from None
    except MemoryError:
        raise UnusableImageError("does not fit into memory; scale it down") from None
    except Exception as error:  # hostile or damaged files make Pillow's decoders raise almost anything
        raise UnusableImageError(_reason(error)) from error
    turned = image.size != upright.size
    return upright, (size[1], size[0]) if turned else size, frames


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences what Pillow says of odd files: the result, or the reason it is left out, says it already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def looks_like_picture(head: bytes) -> bool:
    """Whether the first 16 bytes of a file are those of a picture."""
    bitmap = head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"
    return (
        bitmap
        or head.startswith(_SIGNATURES)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or head[4:8] == b"ftyp"
    )


def _opened(content: bytes) -> Image.Image:
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS and b"avif" not in content[8:40]:
        return _opened_heic(content)
    return Image.open(io.BytesIO(content), formats=_formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    """What we let Pillow read; not, for instance, EPS, which runs Ghostscript."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _opened_heic(content: bytes) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise UnusableImageError(HEIC_REMEDY) from None
    heif: Any = pillow_heif.open_heif(io.BytesIO(content))
    _checked_size(heif.size)
    image: Image.Image = heif.to_pillow()
    image.info.pop("exif", None)  # the decoder has turned it upright already
    return image


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """``(H, W)`` of Pillow's ``(width, height)``, refused where decoding or scaling it would need absurd memory."""
    width, height = size
    if width < 1 or height < 1:
        raise UnusableImageError(f"has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise UnusableImageError(_too_large(f"{width * height / 1e6:.0f} megapixels"))
    if max(size) > MAX_ASPECT * min(size):
        raise UnusableImageError(
            f"is {width} x {height} pixels, more than {MAX_ASPECT} times longer than wide; crop it"
        )
    return height, width


def _too_large(what: str) -> str:
    return f"has {what}, more than {MAX_PIXELS / 1e6:.0f} (a decompression bomb?); scale it down"


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("too many pixels")
    text = str(error).strip().rstrip(".") or type(error).__name__
    if isinstance(error, ValueError) and text.startswith("has "):
        return text
    if "truncated" in text or isinstance(error, EOFError):
        return f"is truncated ({text}); copy it again or remove it"
    return f"cannot be decoded ({text}); save it anew as JPEG or PNG, or remove it"
