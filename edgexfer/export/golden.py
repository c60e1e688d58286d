"""Golden samples: pictures that any machine makes from a seed, so that any artifact can be verified anywhere."""

from __future__ import annotations

import numpy as np

from edgexfer.export.metadata import Golden
from edgexfer.preprocessing import Preprocessing

SEED = 0
SAMPLES = 4
RELATIVE_TOLERANCE = 1e-3
SMALLEST_TOLERANCE = 1e-12


def golden_pixels(seed: int, preprocessing: Preprocessing) -> np.ndarray:
    """The golden samples as uint8 ``(4, H, W, 3)``."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, 256, (SAMPLES, *preprocessing.input_size, 3), dtype=np.uint8)


def feed(pixels: np.ndarray, preprocessing: Preprocessing, kind: str) -> np.ndarray:
    """Pixels as the artifact's input takes them.

    Args:
        pixels: uint8 ``(N, H, W, 3)``.
        preprocessing: Its mean and std serve the float input.
        kind: ``"uint8"`` (as they are) or ``"float"`` (normalised float32 ``(N, 3, H, W)``).
    """
    if kind == "uint8":
        return np.ascontiguousarray(pixels)
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    std = np.asarray(preprocessing.std, dtype=np.float32)
    scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def tolerance_of(logits: np.ndarray) -> float:
    """The float32 tolerance: a thousandth of the largest logit ``(N, K)``, and never quite zero."""
    return max(RELATIVE_TOLERANCE * float(np.abs(logits).max(initial=0.0)), SMALLEST_TOLERANCE)


def golden_of(logits: np.ndarray, seed: int, tolerance: float) -> Golden:
    """The expected answers ``(4, K)`` as metadata holds them."""
    return Golden(seed, tuple(tuple(float(v) for v in row) for row in logits), tolerance)
