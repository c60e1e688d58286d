"""ResNets for 32x32 pictures with four times the channels: ``resnet8x4`` and ``resnet32x4`` of the distillation papers.

As He et al. 2015 (arXiv:1512.03385, section 4.2), depth 6n + 2, but with 32 channels in front, stages of 64, 128 and
256, and option-B shortcuts (a 1x1 convolution with BatchNorm) where the shape changes, in the first stage too.
Submodules are named as in the CIFAR-100 checkpoints of RepDistiller and mdistiller (``conv1``, ``layer1.0.conv1``,
``layer1.0.downsample.0`` ... ``fc``), so that those load as they are.

Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020, section 4, which made the pair
usual.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.cifar_resnet import CifarResNet

DEPTHS = (8, 32)


def cifar_resnet_x4(num_classes: int, depth: int) -> CifarResNet:
    """The network with ``depth`` = 6n + 2 weighted layers."""
    blocks = (depth - 2) // 6
    return CifarResNet(num_classes, 32, [(64, blocks), (128, blocks), (256, blocks)], Block, "fc")


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
