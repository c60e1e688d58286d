"""From a picture file to the network's pixels, bit for bit as training and evaluation make them.

1. EXIF orientation applied; an orientation that cannot be read counts as upright.
2. To RGB, 8 bits: 16-bit greyscale ``v -> round(v / 257)``; transparency laid over white; everything else as
   Pillow's ``convert("RGB")`` does.
3. ``resize``: the shorter side becomes ``resize``, the longer ``int(resize * longer / shorter)``; ``None`` scales
   straight to ``input_size``. Pillow's ``Image.resize``, antialiased.
4. ``crop="center"``: the window starts at ``round((size - crop) / 2)``, Python's rounding (half to even).
"""

from __future__ import annotations

import os
import warnings
from typing import Any, List, Mapping, Sequence, Tuple

import numpy as np
from _edgexfer_environment import DeviceError
from _edgexfer_files import natural
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp .tif .tiff .ppm .pgm .pbm .pnm .heic .heif .hif .avif .jp2 .j2k"
    " .mpo .tga .ico .apng .psd".split()
)
FORMATS = "JPEG MPO PNG GIF BMP DIB WEBP TIFF PPM AVIF JPEG2000 TGA ICO PSD HEIF".split()  # not EPS: Ghostscript
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb: 512 MB of RGB
MAX_ASPECT = 100
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def find(targets: Sequence[str]) -> List[str]:
    """The picture files that ``targets`` name; a folder gives those in it and below, in natural order.

    A file is taken whatever its suffix, and a path that is not there too: reading it says what is wrong.

    Raises:
        DeviceError: A folder holds no pictures.
    """
    found: List[str] = []
    for target in targets:
        if not os.path.isdir(target):
            found.append(target)
            continue
        inside = list(_below(target))
        if not inside:
            raise DeviceError(f"{target!r} holds no pictures; expected files such as .jpg or .png")
        found.extend(inside)
    return found


def read(path: str, preprocessing: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The network's input pixels of a picture file, uint8 ``(H, W, 3)``.

    Raises:
        DeviceError: It cannot be read; the message begins with its name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the result, or the error, says what Pillow would
            with _opened(path) as image:
                _check_size(image.size)
                return prepare(image, preprocessing)
    except (ValueError, OSError, SyntaxError, EOFError, MemoryError) as error:
        raise DeviceError(f"{path!r} {_reason(error)}") from error
    except Image.DecompressionBombError as error:
        raise DeviceError(f"{path!r} {_too_large()}") from error
    except Exception as error:  # hostile or damaged files make Pillow's decoders raise almost anything
        raise DeviceError(f"{path!r} cannot be decoded ({type(error).__name__}: {error})") from error


def prepare(image: Image.Image, preprocessing: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The network's input pixels of an opened picture, uint8 ``(H, W, 3)``.

    Raises:
        ValueError: The picture's pixels have no 8-bit meaning.
    """
    image = to_rgb(_upright(image))
    height, width = preprocessing["input_size"]
    wanted = resized_size(image.size, preprocessing)
    if wanted != image.size:
        image = image.resize(wanted, getattr(Image.Resampling, str(preprocessing["interpolation"]).upper()))
    pixels = np.asarray(image, dtype=np.uint8)
    top = round((pixels.shape[0] - height) / 2)
    left = round((pixels.shape[1] - width) / 2)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def resized_size(size: Tuple[int, int], preprocessing: Mapping[str, Any]) -> Tuple[int, int]:
    """``(width, height)`` after step 3 of a picture of ``size = (width, height)``."""
    height, width = preprocessing["input_size"]
    resize = preprocessing["resize"]
    if resize is None:
        return int(width), int(height)
    longer = int(resize * max(size) / min(size))
    return (int(resize), longer) if size[0] <= size[1] else (longer, int(resize))


def to_rgb(image: Image.Image) -> Image.Image:
    """Step 2 for a picture that is upright already.

    Raises:
        ValueError: Floating point pixels, or integers beyond 16 bits.
    """
    if image.mode == "RGB":
        return image
    if image.mode in SIXTEEN_BITS:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("has integers beyond 16 bits as pixels; save it with 8 bits a channel")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("has floating point pixels; save it with 8 bits a channel")
    if _transparent(image):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _transparent(image: Image.Image) -> bool:
    """What Pillow 10.1 and newer calls ``has_transparency_data``."""
    palette = image.palette.mode if image.palette is not None else ""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info or palette.endswith("A")


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # EXIF of any make: a broken tag must not cost the picture, which every viewer shows
        return image


def _opened(path: str) -> Image.Image:
    if os.path.getsize(path) == 0:
        raise ValueError("is empty (0 bytes)")
    Image.init()
    try:
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        with open(path, "rb") as stream:
            head = stream.read(12)
        if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
            raise ValueError("is a HEIC picture; save it as JPEG") from None
        raise ValueError("is not a picture that Pillow knows; save it as JPEG or PNG") from None


def _check_size(size: Tuple[int, int]) -> None:
    if min(size) < 1:
        raise ValueError(f"has no pixels ({size[0]} x {size[1]})")
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(_too_large())
    if max(size) > MAX_ASPECT * min(size):
        raise ValueError(f"is {size[0]} x {size[1]} pixels, more than {MAX_ASPECT} times longer than wide; crop it")


def _too_large() -> str:
    return f"has more than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down"


def _reason(error: BaseException) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    if isinstance(error, MemoryError):
        return "does not fit into memory; scale it down"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    if isinstance(error, ValueError) and text.startswith(("has ", "is ")):
        return text
    if isinstance(error, EOFError) or "truncated" in text:
        return f"is truncated ({text}); copy it again"
    return f"cannot be decoded ({text}); save it as JPEG or PNG"


def _below(folder: str) -> List[str]:
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = sorted((n for n in folders if not n.startswith(".")), key=natural)
        for name in sorted(names, key=natural):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                found.append(os.path.join(at, name))
    return found
