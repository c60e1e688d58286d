"""The small networks of the studies, as ``networks.py:NAME``: built by the registry like any user's own.

They differ only in what a study compares: BatchNorm or none, ReLU or sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn

from edgexfer.nets import Network

GAUSSIAN = 0.1
"""Standard deviation of the first weights of dense layers: "small random Gaussian values" (Ioffe and Szegedy 2015)."""


def path_of(name: str) -> str:
    """The registry's name of a builder of this file."""
    return f"{Path(__file__).resolve()}:{name}"


class Dense(Network):
    """Grey pixels, hidden layers of sigmoids, a linear head; BatchNorm, where there is one, before the sigmoid.

    Args:
        num_classes: Number of logits.
        hidden: Units of each hidden layer.
        batchnorm: Whether each is normalised.
        pixels: Number of grey pixels of a picture.
    """

    def __init__(self, num_classes: int, hidden: Sequence[int], batchnorm: bool, pixels: int = 28 * 28) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for units, fed in zip(hidden, (pixels, *hidden), strict=False):
            linear = nn.Linear(fed, units, bias=not batchnorm)
            layers += [linear, *([nn.BatchNorm1d(units)] if batchnorm else []), nn.Sigmoid()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden[-1], num_classes)
        self.embedding_dim, self.num_classes = hidden[-1], num_classes
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=GAUSSIAN)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """The last hidden layer ``(N, D)`` of normalised pixels ``(N, 3, H, W)``."""
        return cast(torch.Tensor, self.body(x.mean(1).flatten(1)))


class Convolutional(Network):
    """Stages of two 3x3 convolutions, each halving the picture at its end, then the mean over what is left.

    Args:
        num_classes: Number of logits.
        channels: Of each stage.
        batchnorm: Whether each convolution is followed by BatchNorm, before the nonlinearity.
        activation: Makes the nonlinearity.
    """

    def __init__(
        self,
        num_classes: int,
        channels: Sequence[int] = (16, 32, 64),
        *,
        batchnorm: bool = True,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for out, fed in zip(channels, (3, *channels), strict=False):
            layers: list[nn.Module] = []
            for inner in (fed, out):
                layers.append(nn.Conv2d(inner, out, 3, padding=1, bias=not batchnorm))
                layers += [*([nn.BatchNorm2d(out)] if batchnorm else []), activation()]
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.body = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1], num_classes)
        self.embedding_dim, self.num_classes = channels[-1], num_classes
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features ``(N, D)`` of normalised pixels ``(N, 3, H, W)``."""
        return cast(torch.Tensor, self.body(x)).mean((2, 3))


def dense_1(num_classes: int) -> Network:
    """784-100-K, as the lecture draws it."""
    return Dense(num_classes, (100,), batchnorm=False)


def dense_1_bn(num_classes: int) -> Network:
    """784-100-K with BatchNorm."""
    return Dense(num_classes, (100,), batchnorm=True)


def dense_3(num_classes: int) -> Network:
    """784-100-100-100-K, the network of the 2015 paper's section 4.1."""
    return Dense(num_classes, (100, 100, 100), batchnorm=False)


def dense_3_bn(num_classes: int) -> Network:
    """784-100-100-100-K with BatchNorm."""
    return Dense(num_classes, (100, 100, 100), batchnorm=True)


def conv_plain(num_classes: int) -> Network:
    """Six convolutions, ReLU."""
    return Convolutional(num_classes, batchnorm=False)


def conv_bn(num_classes: int) -> Network:
    """Six convolutions, BatchNorm, ReLU."""
    return Convolutional(num_classes)


def conv_bn_sigmoid(num_classes: int) -> Network:
    """Six convolutions, BatchNorm, sigmoid."""
    return Convolutional(num_classes, activation=nn.Sigmoid)


def conv_sigmoid(num_classes: int) -> Network:
    """Six convolutions, sigmoid."""
    return Convolutional(num_classes, batchnorm=False, activation=nn.Sigmoid)


def conv_wide(num_classes: int) -> Network:
    """The same with twice the channels: a teacher."""
    return Convolutional(num_classes, (32, 64, 128))


def conv_narrow(num_classes: int) -> Network:
    """The same with a quarter of the channels: a student."""
    return Convolutional(num_classes, (4, 8, 16))


def conv_shallow(num_classes: int) -> Network:
    """Four convolutions, BatchNorm, ReLU."""
    return Convolutional(num_classes, (8, 16))


def conv_long(num_classes: int) -> Network:
    """Eight narrow convolutions, BatchNorm, ReLU."""
    return Convolutional(num_classes, (4, 8, 8, 16))
