"""MobileNet V1 (Howard et al. 2017, arXiv:1704.04861, table 1): depthwise separable convolutions, a width multiplier.

Submodules are named as in the widely passed-on ImageNet checkpoints (``stage1.0.0.weight`` ... ``fc.weight``), so that
those load as they are. The published network uses ReLU; the checkpoints of width 0.25 use LeakyReLU(0.1).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from edgexfer.nets.network import Network, initialise

WIDTHS = (1.0, 0.75, 0.5, 0.25)
# (output channels at width 1, stride) of each depthwise separable unit, in three stages.
STAGES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    ((1024, 2), (1024, 1)),
)
STEM_CHANNELS = 32


class MobileNetV1(Network):
    """MobileNet V1.

    Args:
        num_classes: Number of logits.
        width: Width multiplier; every number of channels is scaled by it.
        slope: LeakyReLU's slope below zero; 0 is a ReLU.
    """

    head_name = "fc"

    def __init__(self, num_classes: int, width: float = 1.0, slope: float = 0.0) -> None:
        super().__init__()
        channels = int(STEM_CHANNELS * width)
        stages: list[list[nn.Module]] = [[_stem(channels, slope)], [], []]
        for units, stage in zip(STAGES, stages, strict=True):
            for out, stride in units:
                stage.append(_separable(channels, int(out * width), stride, slope))
                channels = int(out * width)
        self.stage1, self.stage2, self.stage3 = (nn.Sequential(*stage) for stage in stages)
        self.fc = nn.Linear(channels, num_classes)
        self.embedding_dim = channels
        self.num_classes = num_classes
        initialise(self, slope)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 1024 x width) of normalised pixels (N, 3, H, W)."""
        return cast(torch.Tensor, self.stage3(self.stage2(self.stage1(x)))).mean((2, 3))


def _activation(slope: float) -> nn.Module:
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def _stem(out: int, slope: float) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), _activation(slope))


def _separable(channels: int, out: int, stride: int, slope: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        _activation(slope),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        _activation(slope),
    )
