"""MobileNetV2 for 32x32 pictures at half its width: the usual compact student of the CIFAR-100 literature.

Inverted residuals (Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
CVPR 2018, table 2) with half the channels, strides for small pictures, ReLU in place of ReLU6, and 1,280 features.
Submodules are named as in the checkpoints of RepDistiller and mdistiller (``conv1.0``, ``blocks.1.0.conv.0`` ...
``conv2.0``); their ``classifier.0`` is ``classifier`` here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from edgexfer.nets.cifar_resnet import stage
from edgexfer.nets.network import Network, initialise

WIDTH = 0.5
FEATURES = 1_280
# expansion, channels before the width, blocks, stride of the first
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_THEIR_HEAD = "classifier.0."


class CifarMobileNetV2(Network):
    """17 inverted residuals; 812,836 parameters at 100 classes.

    Args:
        num_classes: Number of logits.
    """

    head_name = "classifier"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        channels = int(32 * WIDTH)
        self.conv1 = _convolution(3, channels, 3, 2)
        stages = []
        for expansion, wide, blocks, stride in _STAGES:
            out = int(wide * WIDTH)
            stages.append(stage(functools.partial(Block, expansion=expansion), channels, out, blocks, stride))
            channels = out
        self.blocks = nn.Sequential(*stages)
        self.conv2 = _convolution(channels, FEATURES, 1, 1)
        self.classifier = nn.Linear(FEATURES, num_classes)
        self.embedding_dim = FEATURES
        self.num_classes = num_classes
        initialise(self)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 1280) of normalised pixels (N, 3, H, W)."""
        return cast(torch.Tensor, self.conv2(self.blocks(self.conv1(x)))).mean((2, 3))

    def own_keys(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A weight file's tensors under this network's keys; the checkpoints' head is ``classifier.0``."""
        return {
            f"classifier.{key.removeprefix(_THEIR_HEAD)}" if key.startswith(_THEIR_HEAD) else key: tensor
            for key, tensor in state.items()
        }


class Block(nn.Module):
    """Widens, filters each channel, narrows; the input is added where the shape stays."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.adds = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, channels, H, W) in, (N, out, H / stride, W / stride) out."""
        y = cast(torch.Tensor, self.conv(x))
        return x + y if self.adds else y


def _convolution(channels: int, out: int, side: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
