"""ResNet-8 of MLPerf Tiny (mlcommons/tiny, image classification): the CIFAR-10 network of the embedded benchmark.

It was made in Keras: its strided convolutions pad on the right and at the bottom only ("same" padding of an even
size), its convolutions have biases, BatchNorm's epsilon is 1e-3, and it takes pixels from 0 to 255. Submodules are
named as in the converted checkpoint (``conv0``, ``a1``, ``b1``, ``bs`` ... ``fc``).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.network import Network, initialise

_RIGHT_AND_BOTTOM = (0, 1, 0, 1)


class MlperfResNet8(Network):
    """Three residual blocks with 16, 32 and 64 channels; 78,186 parameters at 10 classes."""

    head_name = "fc"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv0, self.bn0 = nn.Conv2d(3, 16, 3, padding=1), _norm(16)
        self.a1, self.abn1 = nn.Conv2d(16, 16, 3, padding=1), _norm(16)
        self.a2, self.abn2 = nn.Conv2d(16, 16, 3, padding=1), _norm(16)
        self.b1, self.bbn1 = nn.Conv2d(16, 32, 3, 2), _norm(32)
        self.b2, self.bbn2 = nn.Conv2d(32, 32, 3, padding=1), _norm(32)
        self.bs = nn.Conv2d(16, 32, 1, 2)
        self.c1, self.cbn1 = nn.Conv2d(32, 64, 3, 2), _norm(64)
        self.c2, self.cbn2 = nn.Conv2d(64, 64, 3, padding=1), _norm(64)
        self.cs = nn.Conv2d(32, 64, 1, 2)
        self.fc = nn.Linear(64, num_classes)
        self.embedding_dim = 64
        self.num_classes = num_classes
        initialise(self)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 64) of pixels (N, 3, H, W)."""
        x = F.relu(self.bn0(self.conv0(x)))
        x = F.relu(x + self.abn2(self.a2(F.relu(self.abn1(self.a1(x))))))
        y = F.relu(self.bbn1(self.b1(F.pad(x, _RIGHT_AND_BOTTOM))))
        x = F.relu(self.bs(x) + self.bbn2(self.b2(y)))
        y = F.relu(self.cbn1(self.c1(F.pad(x, _RIGHT_AND_BOTTOM))))
        x = F.relu(self.cs(x) + self.cbn2(self.c2(y)))
        return x.mean((2, 3))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
