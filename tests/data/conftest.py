from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(own_cache: Path) -> Path:
    """Every test here has a cache of its own."""
    return own_cache


def picture(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A colourful picture unlike that of any other seed: coarse random blocks, smoothed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def draw() -> Callable[..., Image.Image]:
    return picture


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of pictures: ``folder_of({"cat": 5, "train/dog": 3})``; every picture differs."""
    made = [0]

    def make(counts: dict[str, int], name: str = "set", size: tuple[int, int] = (40, 32)) -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for sub, count in counts.items():
            (root / sub).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                made[0] += 1
                picture(made[0], size).save(root / sub / f"{i}.png")
        return root

    return make
