"""The ResNets for 32x32 pictures (He et al. 2015, arXiv:1512.03385, section 4.2): depth 6n + 2, option-A shortcuts.

An option-A shortcut has no parameters: it skips every other pixel and pads the new channels with zeros, half on either
side. Submodules are named as in the widely passed-on CIFAR-10 checkpoints (``conv1``, ``layer1.0.conv1`` ...
``linear``), so that those load as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.network import Network, initialise

DEPTHS = (20, 32, 44, 56, 110)
MakeBlock = Callable[[int, int, int], nn.Module]
"""From channels, channels given and stride to a block."""


class CifarResNet(Network):
    """Stages of residual blocks behind a 3x3 convolution; each stage but the first halves the size.

    Args:
        num_classes: Number of logits.
        front: Channels of the convolution in front.
        stages: Channels and number of blocks of each stage.
        block: What the stages consist of.
        head_name: What the last layer is called.
    """

    def __init__(
        self, num_classes: int, front: int, stages: Sequence[tuple[int, int]], block: MakeBlock, head_name: str
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, front, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(front)
        self.stage_names = tuple(f"layer{number}" for number in range(1, len(stages) + 1))
        channels = front
        for name, (out, blocks) in zip(self.stage_names, stages, strict=True):
            self.add_module(name, stage(block, channels, out, blocks, 1 if name == "layer1" else 2))
            channels = out
        self.head_name = head_name
        self.add_module(head_name, nn.Linear(channels, num_classes))
        self.embedding_dim = channels
        self.num_classes = num_classes
        initialise(self)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, D) of normalised pixels (N, 3, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        for name in self.stage_names:
            x = getattr(self, name)(x)
        return x.mean((2, 3))


def cifar_resnet(num_classes: int, depth: int) -> CifarResNet:
    """The network with stages of 16, 32 and 64 channels and ``depth`` = 6n + 2 weighted layers."""
    blocks = (depth - 2) // 6
    return CifarResNet(num_classes, 16, [(16, blocks), (32, blocks), (64, blocks)], Block, "linear")


def stage(block: MakeBlock, channels: int, out: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks that give ``out`` channels, the first of which changes the shape."""
    return nn.Sequential(block(channels, out, stride), *(block(out, out, 1) for _ in range(blocks - 1)))


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
