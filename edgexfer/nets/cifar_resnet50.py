"""ResNet-50 for 32x32 pictures: the usual teacher of MobileNetV2 in the CIFAR-100 literature.

The bottlenecks of He et al. 2015 (arXiv:1512.03385, table 1) behind a 3x3 convolution of stride 1, without pooling in
front. Submodules are named as in the CIFAR-100 checkpoints of RepDistiller and mdistiller (``conv1``,
``layer1.0.conv1``, ``layer1.0.shortcut.0`` ... ``linear``), so that those load as they are.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.cifar_resnet_x4 import projection
from edgexfer.nets.network import Network, init_head

EXPANSION = 4
BLOCKS = (3, 4, 6, 3)


class CifarResNet50(Network):
    """A residual network of four stages with 256, 512, 1,024 and 2,048 channels; 23,705,252 parameters at 100 classes.

    Args:
        num_classes: Number of logits.
    """

    head_name = "linear"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, BLOCKS[0], 1)
        self.layer2 = _stage(64 * EXPANSION, 128, BLOCKS[1], 2)
        self.layer3 = _stage(128 * EXPANSION, 256, BLOCKS[2], 2)
        self.layer4 = _stage(256 * EXPANSION, 512, BLOCKS[3], 2)
        self.embedding_dim = 512 * EXPANSION
        self.linear = nn.Linear(self.embedding_dim, num_classes)
        self.num_classes = num_classes
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        init_head(self.linear)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 2048) of normalised pixels (N, 3, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return cast(torch.Tensor, self.layer4(self.layer3(self.layer2(self.layer1(x))))).mean((2, 3))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around which the input is added, projected where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = projection(channels, out, stride) if stride > 1 or channels != out else nn.Sequential()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, 4 width, H / stride, W / stride) out."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + self.shortcut(x))


def _stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, stride)
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width, 1) for _ in range(blocks - 1)))
