"""A network that takes pixels from 0 to 1 of any size, and does its own scaling and normalising."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from edgexfer.nets.network import Network
from edgexfer.preprocessing import Preprocessing


class Normalized(nn.Module):
    """``(x - mean) / std`` before a network, and a resize where the pixels do not have the network's own size.

    So a teacher sees the same crop as its student, at its own resolution and with its own mean and std.

    Args:
        net: The network; it is taken as it is, a submodule named ``net``.
        preprocessing: Its input size, mean and std.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, net: Network, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.net = net
        self.input_size = preprocessing.input_size
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised input (N, 3, H, W) of the network from pixels 0..1 (N, 3, h, w)."""
        if tuple(pixels.shape[-2:]) != self.input_size:
            pixels = F.interpolate(pixels, self.input_size, mode="bilinear", align_corners=False, antialias=True)
        return (pixels - self.mean) / self.std

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) from pixels 0..1 (N, 3, h, w)."""
        return cast(torch.Tensor, self.net(self.normalise(pixels)))

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) from pixels 0..1 (N, 3, h, w)."""
        return self.net.embed(self.normalise(pixels))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) from embeddings (N, D)."""
        return self.net.classify(embedding)
