from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgexfer.data import load_splits
from edgexfer.distill import Teacher, from_weights
from edgexfer.nets import create, preprocessing_for
from edgexfer.training import Job, Recipe, Silent, prepare
from edgexfer.training.checkpoint import save_weights


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A small CIFAR ResNet to train for one epoch on two classes of 12 pictures."""
    root = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    for name, colour in {"dark": 60, "light": 190}.items():
        (root / name).mkdir()
        for number in range(12):
            pixels = np.clip(colour + rng.normal(0, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    recipe = Recipe(epochs=1, batch_size=8, image_size=32, lr=1e-3)
    return prepare(load_splits(root), "cifar-resnet20", "none", recipe, Silent())


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, job: Job) -> Teacher:
    """A network with random weights that says which class it believes in."""
    path = tmp_path_factory.mktemp("weights") / "teacher.safetensors"
    save_weights(path, create("cifar-resnet20", 2, input_size=(32, 32), seed=5).state_dict())
    return from_weights("cifar-resnet20", path, job.splits.classes, preprocessing_for("cifar-resnet20", 32))
