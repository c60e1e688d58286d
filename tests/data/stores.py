"""Small stores of pictures of noise."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgexfer.data import PixelStore, View, build_store
from edgexfer.preprocessing import Preprocessing, square

RULE = square(16)


def store_of(count: int, rule: Preprocessing = RULE, size: tuple[int, int] = (20, 16)) -> PixelStore:
    """``count`` pictures of ``size = (width, height)``, picture ``i`` of class ``i``."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)) for _ in range(count)]
    names = tuple(str(i) for i in range(count))
    return build_store(View("train", names, np.arange(count), lambda i: images[i], names), rule)
