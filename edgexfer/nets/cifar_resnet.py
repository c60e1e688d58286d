"""The ResNets for 32x32 pictures (He et al. 2015, arXiv:1512.03385, section 4.2): depth 6n + 2, option-A shortcuts.

An option-A shortcut has no parameters: it skips every other pixel and pads the new channels with zeros, half on either
side. Submodules are named as in the widely passed-on CIFAR-10 checkpoints (``conv1``, ``layer1.0.conv1`` ...
``linear``), so that those load as they are.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.network import Network, init_head

DEPTHS = (20, 32, 44, 56, 110)


class CifarResNet(Network):
    """A residual network of three stages with 16, 32 and 64 channels.

    Args:
        num_classes: Number of logits.
        depth: Number of weighted layers, 6n + 2.
    """

    head_name = "linear"

    def __init__(self, num_classes: int, depth: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1)
        self.layer2 = _stage(16, 32, blocks, 2)
        self.layer3 = _stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, num_classes)
        self.embedding_dim = 64
        self.num_classes = num_classes
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        init_head(self.linear)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 64) of normalised pixels (N, 3, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return cast(torch.Tensor, self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is added, by an option-A shortcut where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride = stride
        self.padding = (out - channels) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, out, H / stride, W / stride) out."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.padding:
            x = F.pad(x, (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(y + x)


def _stage(channels: int, out: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(channels, out, stride)
    return nn.Sequential(first, *(Block(out, out, 1) for _ in range(blocks - 1)))
