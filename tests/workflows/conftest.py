from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.workflows.exporting import run

COLOURS = {"blue": (30, 40, 220), "green": (20, 200, 50), "red": (220, 40, 30)}


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy coloured pictures, 20 each: learnable in a few steps, none like another."""
    root = tmp_path_factory.mktemp("pictures") / "colours"
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(np.array(colour) + rng.normal(0, 60, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def small_net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A user's own network, small enough to learn the colours in a second."""
    path = tmp_path_factory.mktemp("nets") / "small.py"
    path.write_text(
        "from torch import nn\n"
        "def build(num_classes):\n"
        "    return nn.Sequential(\n"
        "        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),\n"
        "        nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),\n"
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))\n"
    )
    return f"{path}:build"


@pytest.fixture(scope="session")
def teacher(colours: Path, small_net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "teacher"
    recipe = Recipe(epochs=12, batch_size=8, lr=0.01, image_size=32)
    target = Target(out, argv=("edgexfer", "finetune"))
    finetune_data(DataChoice(str(colours)), Start(small_net), recipe, target, Silent())
    return out


@pytest.fixture(scope="session")
def exported(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher's run as float32 and int8."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("exported") / "colours.onnx"
    done = run("export", teacher, "--int8", "--max-drop", "5", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert set(value["int8"]) >= {"recommended", "speedup", "top1", "top1_float32"}
    return out
