"""ResNet-50 for 32x32 pictures: the usual teacher of MobileNetV2 in the CIFAR-100 literature.

The bottlenecks of He et al. 2015 (arXiv:1512.03385, table 1) behind a 3x3 convolution of stride 1, without pooling in
front. Submodules are named as in the CIFAR-100 checkpoints of RepDistiller and mdistiller (``conv1``,
``layer1.0.conv1``, ``layer1.0.shortcut.0`` ... ``linear``), so that those load as they are.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.cifar_resnet import CifarResNet
from edgexfer.nets.cifar_resnet_x4 import projection

EXPANSION = 4
STAGES = ((256, 3), (512, 4), (1_024, 6), (2_048, 3))
"""Channels and number of bottlenecks."""


def cifar_resnet50(num_classes: int) -> CifarResNet:
    """The network; 23,705,252 parameters at 100 classes."""
    return CifarResNet(num_classes, 64, STAGES, Bottleneck, "linear")


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around which the input is added, projected where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        width = out // EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = projection(channels, out, stride) if stride > 1 or channels != out else nn.Sequential()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, out, H / stride, W / stride) out."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + self.shortcut(x))
