"""From an opened picture to the network's pixels, exactly: the one place in training and evaluation that scales.

The rule, step by step (the device scripts carry the same):

1. EXIF orientation applied; an orientation that cannot be read counts as upright.
2. To RGB, 8 bits: 16-bit greyscale ``v -> round(v / 257)``; transparency laid over white; everything else as
   Pillow's ``convert("RGB")`` does.
3. ``resize``: the shorter side becomes ``resize``, the longer ``int(resize * longer / shorter)``; ``resize=None``
   scales straight to ``input_size``. Pillow's ``Image.resize`` with the interpolation, antialiased, no reducing gap.
4. ``crop="center"``: the window starts at ``round((size - crop) / 2)``, Python's rounding (half to even).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgexfer.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def prepare_image(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """The network's input pixels, uint8 ``(H, W, 3)`` RGB, of one opened picture.

    Raises:
        ValueError: The picture's pixels have no 8-bit meaning (see ``upright_rgb``).
    """
    return center_crop(resized(upright_rgb(image), preprocessing), preprocessing)


def upright_rgb(image: Image.Image) -> Image.Image:
    """The picture upright, in RGB with 8 bits a channel (steps 1 and 2).

    Raises:
        ValueError: Floating point pixels, or integers beyond 16 bits.
    """
    return to_rgb(_upright(image))


def resized(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """An RGB picture after step 3, uint8 ``(h, w, 3)``."""
    width, height = resized_size(image.size, preprocessing)
    if (width, height) != image.size:
        image = image.resize((width, height), RESAMPLING[preprocessing.interpolation])
    return np.asarray(image, dtype=np.uint8)


def resized_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """``(width, height)`` after step 3 of a picture of ``size = (width, height)``."""
    if preprocessing.resize is None:
        return preprocessing.input_size[1], preprocessing.input_size[0]
    shorter, longer = min(size), max(size)
    other = int(preprocessing.resize * longer / shorter)
    return (preprocessing.resize, other) if size[0] <= size[1] else (other, preprocessing.resize)


def center_crop(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Pixels after step 4, uint8 ``(H, W, 3)``; a view of ``pixels``, which came from ``resized``."""
    height, width = preprocessing.input_size
    top = round((pixels.shape[0] - height) / 2)
    left = round((pixels.shape[1] - width) / 2)
    return pixels[top : top + height, left : left + width]


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF of any make: a broken tag must not cost the picture, which every viewer shows
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Step 2 for a picture that is upright already."""
    if image.mode == "RGB":
        return image
    if image.mode in _SIXTEEN_BITS:
        return _from_sixteen_bits(image)
    if image.mode == "F":
        raise ValueError("has floating point pixels; save it with 8 bits a channel")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    values: NDArray[Any] = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("has integers beyond 16 bits as pixels; save it with 8 bits a channel")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
