"""How a picture becomes a network's input: one value that travels with every run and artifact.

The rule, the same in training, export and on the device:

1. decode to RGB, 8 bits a channel, upright (EXIF);
2. ``resize``: scale so that the shorter side has ``resize`` pixels; ``None`` scales straight to ``input_size``
   whatever the aspect;
3. ``crop``: ``"center"`` cuts ``input_size`` out of the middle;
4. ``x / 255``, then ``(x - mean) / std`` per channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgexfer.errors import FormatError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic")
LARGEST_SIDE = 4096
"""Pixels; a file that asks for more asks for memory, not for a picture."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input.

    Attributes:
        input_size: ``(H, W)`` in pixels.
        resize: Pixels of the shorter side before the crop, at least ``max(input_size)``; ``None`` scales straight
            to ``input_size``.
        crop: ``"center"`` or ``"none"``; ``"none"`` goes with ``resize=None``.
        interpolation: One of ``INTERPOLATIONS``, both antialiased as Pillow does.
        mean: Per channel, on pixels from 0 to 1.
        std: Per channel, on pixels from 0 to 1.
        channels: Always ``"RGB"``.
    """

    input_size: tuple[int, int]
    resize: int | None
    crop: str = "center"
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channels: str = "RGB"

    def __post_init__(self) -> None:
        mistakes = list(self._mistakes())
        if mistakes:
            raise FormatError("preprocessing: " + "; ".join(mistakes))

    def _mistakes(self) -> list[str]:
        found = []
        if len(self.input_size) != 2 or not 1 <= min(self.input_size) <= max(self.input_size) <= LARGEST_SIDE:
            found.append(f"input_size is {self.input_size!r}; expected two numbers of pixels, 1 to {LARGEST_SIDE:,}")
        elif self.resize is not None and self.resize < max(self.input_size):
            found.append(f"resize is {self.resize!r}, smaller than the crop {max(self.input_size)}")
        elif self.resize is not None and self.resize > 2 * LARGEST_SIDE:
            found.append(f"resize is {self.resize!r}; expected {2 * LARGEST_SIDE:,} pixels at most")
        if self.crop not in ("center", "none"):
            found.append(f"crop is {self.crop!r}; allowed: 'center', 'none'")
        elif (self.crop == "center") != (self.resize is not None):
            found.append("crop 'center' goes with a resize, crop 'none' with resize None")
        if self.interpolation not in INTERPOLATIONS:
            found.append(f"interpolation is {self.interpolation!r}; allowed: {', '.join(INTERPOLATIONS)}")
        finite = all(math.isfinite(v) for v in (*self.mean, *self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std, default=0.0) <= 0:
            found.append(f"mean {self.mean!r} and std {self.std!r} need three finite numbers each, std above 0")
        if self.channels != "RGB":
            found.append(f"channels is {self.channels!r}; only 'RGB' is read")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The value as JSON holds it."""
        return {
            "input_size": list(self.input_size),
            "resize": self.resize,
            "crop": self.crop,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Reads what ``to_dict`` wrote.

        Raises:
            FormatError: A key is missing or a value is not allowed.
        """
        try:
            height, width = value["input_size"]
            resize = value["resize"]
            return cls(
                input_size=(int(height), int(width)),
                resize=None if resize is None else int(resize),
                crop=str(value["crop"]),
                interpolation=str(value["interpolation"]),
                mean=_triple(value["mean"]),
                std=_triple(value["std"]),
                channels=str(value["channels"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FormatError(f"preprocessing is incomplete or malformed: {error!r} in {value!r}") from error


def square(
    size: int,
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    interpolation: str = "bilinear",
) -> Preprocessing:
    """The usual rule at ``size`` pixels: the shorter side at 8/7 of the crop (256 for 224), no margin below 64."""
    resize = size if size < 64 else round(size * 8 / 7)
    return Preprocessing((size, size), resize, "center", interpolation, mean, std)


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return (first, second, third)
