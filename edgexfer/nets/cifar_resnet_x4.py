"""ResNets for 32x32 pictures with four times the channels: ``resnet8x4`` and ``resnet32x4`` of the distillation papers.

As He et al. 2015 (arXiv:1512.03385, section 4.2), depth 6n + 2, but with 32 channels in front, stages of 64, 128 and
256, and option-B shortcuts (a 1x1 convolution with BatchNorm) where the shape changes, in the first stage too.
Submodules are named as in the CIFAR-100 checkpoints of RepDistiller and mdistiller (``conv1``, ``layer1.0.conv1``,
``layer1.0.downsample.0`` ... ``fc``), so that those load as they are.

Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020, section 4, which made the pair
usual.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.network import Network, init_head

DEPTHS = (8, 32)
CHANNELS = (32, 64, 128, 256)


class CifarResNetX4(Network):
    """A residual network of three stages with 64, 128 and 256 channels.

    Args:
        num_classes: Number of logits.
        depth: Number of weighted layers, 6n + 2.
    """

    head_name = "fc"

    def __init__(self, num_classes: int, depth: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        front, first, second, third = CHANNELS
        self.conv1 = nn.Conv2d(3, front, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(front)
        self.layer1 = _stage(front, first, blocks, 1)
        self.layer2 = _stage(first, second, blocks, 2)
        self.layer3 = _stage(second, third, blocks, 2)
        self.fc = nn.Linear(third, num_classes)
        self.embedding_dim = third
        self.num_classes = num_classes
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        init_head(self.fc)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 256) of normalised pixels (N, 3, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return cast(torch.Tensor, self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is added, projected where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = projection(channels, out, stride) if stride > 1 or channels != out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, out, H / stride, W / stride) out."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def projection(channels: int, out: int, stride: int) -> nn.Sequential:
    """An option-B shortcut: a 1x1 convolution with BatchNorm."""
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def _stage(channels: int, out: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(channels, out, stride), *(Block(out, out, 1) for _ in range(blocks - 1)))
