"""Pictures for the page: where a prediction's picture is found, and its thumbnail as a ``data:`` address."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, ImageOps

from edgexfer.runs import Run

PictureReader = Callable[[Run, str], Image.Image | None]
SIDE = 132
SPLIT_FOLDERS = ("", "test", "val", "valid", "validation", "train")
_DIGIT = re.compile(r"digits[/_-](\d{1,5})(?:\.png)?")


def default_reader() -> PictureReader:
    """A reader of picture files in the data folder that a run remembers, and of scikit-learn's digits."""

    @cache
    def digits() -> Any:
        from sklearn.datasets import load_digits

        return load_digits().images

    def read(run: Run, file: str) -> Image.Image | None:
        match = _DIGIT.fullmatch(file)
        if run.recipe.get("data") == "digits" and match:
            index = int(match.group(1))
            grey = digits()
            return Image.fromarray((grey[index] * (255 / 16)).round().astype("uint8")) if index < len(grey) else None
        return _from_folder(run, file)

    return read


def _from_folder(run: Run, file: str) -> Image.Image | None:
    """Opens ``file`` below the run's data folder; a name that points out of it is not followed."""
    name = PurePosixPath(file)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        return None
    for key in ("data_path", "data", "data_root"):
        folder = run.recipe.get(key)
        if not isinstance(folder, str) or not folder:
            continue
        for split in SPLIT_FOLDERS:
            path = Path(folder) / split / name
            try:
                if path.is_file():
                    return Image.open(path)
            except (OSError, ValueError):
                continue
    return None


def thumbnail(run: Run, file: str, reader: PictureReader, side: int = SIDE) -> str | None:
    """The picture as a ``data:image`` address, at most ``side`` pixels long; ``None`` where it cannot be had.

    Small pictures (digits) go in as they are, as PNG; photographs as JPEG.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = reader(run, file)
            if picture is None:
                return None
            return address_of(picture, side)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError, Warning):
        return None  # a picture that cannot be decoded any more is one that is not there


def address_of(picture: Image.Image, side: int = SIDE) -> str:
    """A picture as a ``data:image`` address, at most ``side`` pixels long."""
    picture.draft("RGB", (side, side))
    upright = ImageOps.exif_transpose(picture)
    is_tiny = max(upright.size) <= side // 2
    if upright.mode not in ("L", "RGB"):
        upright = _over_white(upright)
    upright.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if is_tiny:
        upright.save(stream, "PNG", optimize=True)
    else:
        upright.convert("RGB").save(stream, "JPEG", quality=80, optimize=True)
    kind = "png" if is_tiny else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _over_white(picture: Image.Image) -> Image.Image:
    """Transparency laid over white; deep greys scaled to 8 bits."""
    if picture.mode.startswith("I") or picture.mode == "F":
        low, high = (float(v) for v in picture.getextrema())  # type: ignore[arg-type]
        scale = 255 / (high - low or 1)
        return picture.convert("F").point(lambda v: v * scale - low * scale).convert("L")
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
