"""Wide ResNets for 32x32 pictures: WRN-d-k has depth d = 6n + 4 and k times the channels of a plain ResNet.

BatchNorm and ReLU come before each convolution; where the shape changes, the shortcut is a 1x1 convolution of the
activated input. Submodules are named as in the CIFAR checkpoints of RepDistiller and mdistiller (``conv1``,
``block1.layer.0.bn1``, ``block1.layer.0.convShortcut`` ... ``bn1``, ``fc``), so that those load as they are.

Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, table 1; without dropout.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.cifar_resnet import stage
from edgexfer.nets.network import Network, initialise

KINDS = ((16, 1), (16, 2), (40, 1), (40, 2), (28, 10))
"""Depth and widening of those that are registered."""


class CifarWideResNet(Network):
    """A residual network of three stages with 16k, 32k and 64k channels.

    Args:
        num_classes: Number of logits.
        depth: Number of weighted layers, 6n + 4.
        widening: k.
    """

    head_name = "fc"

    def __init__(self, num_classes: int, depth: int, widening: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.embedding_dim = 64 * widening
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = Stage(16, 16 * widening, blocks, 1)
        self.block2 = Stage(16 * widening, 32 * widening, blocks, 2)
        self.block3 = Stage(32 * widening, self.embedding_dim, blocks, 2)
        self.bn1 = nn.BatchNorm2d(self.embedding_dim)
        self.fc = nn.Linear(self.embedding_dim, num_classes)
        self.num_classes = num_classes
        initialise(self)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 64k) of normalised pixels (N, 3, H, W)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return F.relu(self.bn1(x)).mean((2, 3))


class Stage(nn.Module):
    """Blocks of one width, the first of which changes the shape."""

    def __init__(self, channels: int, out: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.layer = stage(Block, channels, out, blocks, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, out, H / stride, W / stride) out."""
        return cast(torch.Tensor, self.layer(x))


class Block(nn.Module):
    """BatchNorm, ReLU and 3x3 convolution, twice, around which the input is added."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, out, H / stride, W / stride) out."""
        active = F.relu(self.bn1(x))
        y: torch.Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.convShortcut is None else self.convShortcut(active))
