"""Tiny Darknet (Joseph Redmon, pjreddie.com/darknet): 1,042,104 parameters, 0.98 billion operations at 224.

Fifteen Conv-BatchNorm-LeakyReLU(0.1) units without convolution bias, four 2x2 max-poolings, a 1x1 convolution with
bias as the classifier, and global average pooling after it. Since pooling and a 1x1 convolution are both linear, the
classifier may as well be applied to the pooled features: that is ``classify``.

A width multiplier scales the channels of every unit, as MobileNet's does (Howard et al. 2017, section 3.3).

BatchNorm's epsilon is PyTorch's 1e-5 inside the root; Darknet adds 1e-6 outside it, which ``load_darknet`` makes up
for exactly. Its momentum is PyTorch's 0.1, ten times Darknet's, since short trainings are the rule here.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from edgexfer.nets.network import Network, initialise

WIDTHS = (1.0, 0.75, 0.5, 0.25)
# (kernel, output channels at width 1); "M" is a 2x2 max-pooling with stride 2.
LAYOUT: tuple[tuple[int, int] | str, ...] = (
    (3, 16), "M", (3, 32), "M",
    (1, 16), (3, 128), (1, 16), (3, 128), "M",
    (1, 32), (3, 256), (1, 32), (3, 256), "M",
    (1, 64), (3, 512), (1, 64), (3, 512), (1, 128),
)  # fmt: skip


class TinyDarknet(Network):
    """Tiny Darknet.

    Args:
        num_classes: Number of logits.
        slope: LeakyReLU's slope below zero, 0.1 as published; 0 puts a ReLU in its place, which costs int8
            nothing.
        width: Width multiplier; every number of channels is scaled by it. 1 is the published network.
    """

    def __init__(self, num_classes: int, slope: float = 0.1, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for item in LAYOUT:
            if isinstance(item, str):
                layers.append(nn.MaxPool2d(2, 2))
            else:
                kernel, out = item[0], int(item[1] * width)
                layers.append(_unit(channels, out, kernel, slope))
                channels = out
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels, num_classes, 1)
        self.embedding_dim = channels
        self.num_classes = num_classes
        initialise(self, slope)

    def units(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The convolutions with their BatchNorm, in order; the classifier is not among them."""
        return [
            (cast(nn.Conv2d, unit[0]), cast(nn.BatchNorm2d, unit[1]))
            for unit in self.layers
            if isinstance(unit, nn.Sequential)
        ]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 128 x width) of normalised pixels (N, 3, H, W)."""
        return cast(torch.Tensor, self.layers(x)).mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) in the published order: the classifier at every place, then global average pooling."""
        return cast(torch.Tensor, self.head(self.layers(x))).mean((2, 3))


def _unit(channels: int, out: int, kernel: int, slope: float) -> nn.Sequential:
    activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), activation)
