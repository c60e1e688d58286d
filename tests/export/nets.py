"""A small network with lived-in BatchNorm statistics, and what an export of it asks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from edgexfer.export.exporter import ExportRequest, Pictures
from edgexfer.preprocessing import Preprocessing
from tests.batchnorms import lived_in

TALL = Preprocessing((24, 32), None, "none")


class SmallNet(nn.Module):
    """Three Conv-BN-activation blocks with lived-in statistics, a pool and a linear head."""

    def __init__(self, num_classes: int = 3, activation: Callable[[], nn.Module] = lambda: nn.LeakyReLU(0.1)) -> None:
        super().__init__()
        torch.manual_seed(7)
        layers: list[nn.Module] = []
        width = 3
        for out in (8, 8, 16):
            layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), activation()]
            width = out
        layers.insert(3, nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(16, num_classes)
        self.embedding_dim, self.num_classes = 16, num_classes
        lived_in(self).train()

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean((2, 3))  # type: ignore[no-any-return]

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.head(embedding)  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


def make_pixels(count: int, rule: Preprocessing = TALL, seed: int = 1) -> np.ndarray:
    """Smooth coloured pictures, not noise: a random gradient each, with a little noise on top."""
    rng = np.random.default_rng(seed)
    height, width = rule.input_size
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slope = rng.uniform(-1, 1, (count, 2, 3))
    base = rng.uniform(60, 200, (count, 1, 1, 3))
    ramp = rows[None, :, :, None] * slope[:, None, None, 0] + columns[None, :, :, None] * slope[:, None, None, 1]
    return np.clip(base + 90 * ramp + rng.normal(0, 6, (count, height, width, 3)), 0, 255).astype(np.uint8)


def request_for(rule: Preprocessing = TALL, classes: int = 3, **options: object) -> ExportRequest:
    names = tuple(f"class {i}" for i in range(classes))
    return ExportRequest("small", names, rule, "0" * 64, **options)  # type: ignore[arg-type]


def pictures_for(rule: Preprocessing = TALL, count: int = 13, calibration: int = 0) -> Pictures:
    batches = [make_pixels(8, rule, seed=100 + i) for i in range(calibration)]
    return Pictures(make_pixels(count, rule), np.zeros(count, np.int64), batches)
