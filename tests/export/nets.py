"""A small network with lived-in BatchNorm statistics, and what an export of it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def coloured(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose class is their brightest channel."""
    pixels = make_pixels(count, seed=seed)
    labels = np.random.default_rng(seed).integers(0, 3, count)
    lift = np.zeros((count, 1, 1, 3))
    lift[np.arange(count), 0, 0, labels] = 70
    return np.clip(pixels * 0.3 + lift, 0, 255).astype(np.uint8), labels


def trained() -> nn.Module:
    """A net that knows its colours."""
    net: nn.Module = SmallNet().train()
    pixels, labels = coloured(96, seed=3)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (TALL.mean, TALL.std))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    y = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def batches() -> Iterator[np.ndarray]:
    """Pictures to calibrate on, 40 in all."""
    return (coloured(8, seed=20 + i)[0] for i in range(5))
