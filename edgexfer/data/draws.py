"""Random numbers that depend on nothing but what they are for.

``uniforms(seed, epoch, images, draws)`` hashes its arguments (splitmix64's finaliser over a counter), so that image 7
of epoch 3 gets the same numbers in any batch, any worker, any order and on any machine.

Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def uniforms(seed: int, epoch: int, images: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """Numbers from 0 (included) to 1 (excluded), ``(len(images), draws)``."""
    stream = _mix_number(_mix_number(seed & _MASK) ^ ((epoch + 1) * _GOLDEN & _MASK))
    per_image = _mix(np.uint64(stream) + images.astype(np.uint64) * np.uint64(_GOLDEN))
    counters = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = _mix(per_image[:, None] + counters[None, :]) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def shuffled(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The numbers below ``count`` in an order drawn for this seed and epoch."""
    keys = uniforms(seed ^ 0x5348554646, epoch, np.arange(count), 1)[:, 0]
    return np.argsort(keys, kind="stable").astype(np.int64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _mix_number(value: int) -> int:
    return int(_mix(np.array([(value + _GOLDEN) & _MASK], dtype=np.uint64))[0])
