"""What the tests of the device's scripts share beside their fixtures."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
Script = Callable[..., "subprocess.CompletedProcess[str]"]


def painted(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30), seed: int = 0) -> Image.Image:
    """A picture of ``size = (width, height)`` in nearly one colour."""
    noise = np.random.default_rng(seed).integers(-30, 31, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def describe_bundle(folder: Path, **more: object) -> None:
    (folder / "bundle.json").unlink(missing_ok=True)
    files = {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    }
    value = {"format": 1, "edgexfer_version": "9.8.7", "files": files, **more}
    (folder / "bundle.json").write_text(json.dumps(value))
