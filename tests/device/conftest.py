from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgexfer import device
from tests.device import artifacts
from tests.device.device_kit import COLOURS, Script, describe_bundle, painted


@pytest.fixture(scope="session")
def run_script() -> Script:
    """Runs a device script the way a user does, in a process of its own."""

    def run(script: Path, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), *map(str, words)]
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            command, cwd=cwd or script.parent, env=variables, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle folder far from the repository: two models, nine labelled samples, the scripts."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for file in device.bundle_files():
        shutil.copy(file, folder)
    artifacts.write(folder / "models/tiny.onnx")
    artifacts.write(folder / "models/tiny.int8.onnx", precision="int8")
    labels = np.arange(9) % 3
    colours = list(COLOURS.values())
    samples = [np.asarray(painted(colours[k], (16, 12), seed=i)) for i, k in enumerate(labels)]
    np.save(folder / "samples.npy", np.stack(samples))
    np.save(folder / "labels.npy", labels)
    describe_bundle(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten pictures a class, of two colours that the model does not know."""
    for name, colour in {"yellow": (200, 200, 40), "grey": (90, 90, 90)}.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(10):
            painted(colour, seed=i).save(folder / f"{i}.png")
    return tmp_path / "photos"
