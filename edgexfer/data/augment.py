"""Random changes of training pictures, each decided by the numbers drawn for its image.

=========  =================================================  ====================================================
name       smaller than 64 pixels                             larger
=========  =================================================  ====================================================
``none``   the middle, as in evaluation                       the same
``light``  shift by up to 1/8 (reflecting at the border);     crop of 35 to 100% of the area, aspect 3/4 to 4/3;
           mirror                                             mirror
``strong`` the same, by up to 1/4; colour jitter; erasing     crop of 20 to 100%; mirror; colour jitter; erasing
=========  =================================================  ====================================================

Where a mirrored picture would change its class (digits), small pictures get a turn of up to 10 degrees, a zoom of up to
10% and a shift of up to 1/16 instead (twice that for ``strong``), and larger ones are not mirrored and keep 70% of the
area at least, since a digit that is cut is another digit. Colour jitter is brightness, contrast and saturation by up to
40%, as in AlexNet's successors; erasing blanks 2 to 20% of half of the pictures with their mean colour (Zhong et al.,
"Random Erasing Data Augmentation", AAAI 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from edgexfer.data.draws import uniforms
from edgexfer.data.prepare import RESAMPLING, center_crop
from edgexfer.preprocessing import Preprocessing

AUGMENTS = ("none", "light", "strong")
SMALL = 64
DRAWS = 16

Pixels = NDArray[np.uint8]
Draws = NDArray[np.float64]
_GREY = (0.299, 0.587, 0.114)


def augment_batch(
    pictures: Sequence[Pixels],
    indices: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    augment: str,
    mirrors: bool,
    seed: int,
    epoch: int,
) -> torch.Tensor:
    """The training inputs of some pictures, float32 ``(N, 3, H, W)``, 0..1.

    Args:
        pictures: Pixels from a store, each ``(h, w, 3)``.
        indices: Number of each picture in its store; decides, with seed and epoch, what happens to it.
        preprocessing: Input size, crop and interpolation.
        augment: One of ``AUGMENTS``.
        mirrors: Whether a mirrored picture keeps its class.
        seed: Of the training.
        epoch: Counted from 0.
    """
    draws = uniforms(seed, epoch, indices, DRAWS)
    if augment == "none":
        return to_floats(np.stack([center_crop(p, preprocessing) for p in pictures]))
    strong = augment == "strong"
    small = min(preprocessing.input_size) < SMALL
    if small and not mirrors:
        inputs = _turned(to_floats(np.stack([center_crop(p, preprocessing) for p in pictures])), draws, strong)
    else:
        cut = _shifted if small else _cropped
        inputs = to_floats(
            np.stack([cut(p, preprocessing, u, strong, mirrors) for p, u in zip(pictures, draws, strict=True)])
        )
    if strong:
        inputs = _erased(_jittered(inputs, draws[:, 8:11]), draws[:, 11:16])
    return inputs


def to_floats(pixels: Pixels) -> torch.Tensor:
    """uint8 ``(N, H, W, 3)`` as float32 ``(N, 3, H, W)``, 0..1."""
    return (
        torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    )


def _shifted(picture: Pixels, preprocessing: Preprocessing, u: Draws, strong: bool, mirrors: bool) -> Pixels:
    """A window of the input's size, anywhere in the picture padded by 1/8 (1/4) of that size on each side."""
    share = 4 if strong else 8
    rows, columns = (
        _window(have, want, max(1, want // share), draw)
        for have, want, draw in zip(picture.shape[:2], preprocessing.input_size, u[:2], strict=True)
    )
    if mirrors and u[2] < 0.5:
        columns = columns[::-1]
    return picture[rows[:, None], columns[None, :]]


def _window(have: int, want: int, pad: int, draw: float) -> NDArray[np.int64]:
    """``want`` positions in ``0..have-1`` from a random start, reflected at the borders."""
    start = int(draw * (have + 2 * pad - want + 1)) - pad
    if have == 1:
        return np.zeros(want, dtype=np.int64)
    positions = np.abs(np.arange(start, start + want)) % (2 * have - 2)
    reflected: NDArray[np.int64] = np.minimum(positions, 2 * have - 2 - positions)
    return reflected


def _cropped(picture: Pixels, preprocessing: Preprocessing, u: Draws, strong: bool, mirrors: bool) -> Pixels:
    """A random part of the picture, scaled to the input size (Szegedy et al., "Going Deeper with Convolutions")."""
    height, width = picture.shape[:2]
    smallest = (0.2 if strong else 0.35) if mirrors else (0.5 if strong else 0.7)
    area = height * width * (smallest + (1 - smallest) * u[0])
    aspect = math.exp((2 * u[1] - 1) * math.log(4 / 3)) * preprocessing.input_size[1] / preprocessing.input_size[0]
    wide = min(math.sqrt(area * aspect), width)
    high = min(math.sqrt(area / aspect), height)
    left, top = u[2] * (width - wide), u[3] * (height - high)
    target = (preprocessing.input_size[1], preprocessing.input_size[0])
    scaled = Image.fromarray(picture).resize(
        target, RESAMPLING[preprocessing.interpolation], box=(left, top, left + wide, top + high)
    )
    pixels = np.asarray(scaled, dtype=np.uint8)
    return pixels[:, ::-1] if mirrors and u[4] < 0.5 else pixels


def _turned(inputs: torch.Tensor, draws: Draws, strong: bool) -> torch.Tensor:
    """Small turns, zooms and shifts about the middle, bilinear, the border repeated."""
    much = 2.0 if strong else 1.0
    angle, zoom_x, zoom_y, shift_x, shift_y = (2 * torch.from_numpy(draws[:, :5]).T - 1) * much
    angle = angle * math.radians(10)
    scale_x, scale_y = 1 + 0.1 * zoom_x, 1 + 0.1 * zoom_y
    rows = [scale_x * angle.cos(), -scale_y * angle.sin(), shift_x / 8, scale_x * angle.sin(), scale_y * angle.cos()]
    matrix = torch.stack([*rows, shift_y / 8], dim=1).reshape(-1, 2, 3).to(torch.float32)  # of a width of 2: 1/16
    grid = torch.nn.functional.affine_grid(matrix, list(inputs.shape), align_corners=False)
    turned: torch.Tensor = torch.nn.functional.grid_sample(inputs, grid, "bilinear", "border", align_corners=False)
    return turned


def _jittered(inputs: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Brightness b, contrast c about the picture's mean grey, and saturation s, each by up to 40%; changes ``inputs``.

    One after the other they are ``c b (s x + (1 - s) grey(x)) + (1 - c) b mean(grey)``.
    """
    b, c, s = (0.6 + 0.8 * torch.from_numpy(draws).T).to(torch.float32)[:, :, None, None, None]
    grey = _grey(inputs)
    mean = torch.from_numpy(grey.numpy().mean((2, 3), keepdims=True))  # NumPy's sum is the same in any worker
    grey.mul_(c * b * (1 - s)).add_((1 - c) * b * mean)
    return inputs.mul_(c * b * s).add_(grey).clamp_(0, 1)


def _erased(inputs: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Half of the pictures lose a rectangle to their mean colour; ``inputs`` is changed."""
    height, width = inputs.shape[2:]
    for row, (chance, share, aspect, x, y) in enumerate(draws.tolist()):
        if chance >= 0.5:
            continue
        area = (0.02 + 0.18 * share) * height * width
        ratio = math.exp((2 * aspect - 1) * math.log(3.0))
        high = min(max(1, round(math.sqrt(area * ratio))), height)
        wide = min(max(1, round(math.sqrt(area / ratio))), width)
        top, left = int(y * (height - high + 1)), int(x * (width - wide + 1))
        inputs[row, :, top : top + high, left : left + wide] = _mean_colour(inputs[row])
    return inputs


def _mean_colour(picture: torch.Tensor) -> torch.Tensor:
    """Mean colour of one picture, ``(3, 1, 1)``."""
    return torch.from_numpy(picture.numpy().mean((1, 2), keepdims=True))


def _grey(inputs: torch.Tensor) -> torch.Tensor:
    red, green, blue = inputs[:, 0:1], inputs[:, 1:2], inputs[:, 2:3]
    return _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
