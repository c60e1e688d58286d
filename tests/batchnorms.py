"""BatchNorm statistics as training leaves them, so that a mistake with any of the four shows."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Net = TypeVar("Net", bound=nn.Module)


def lived_in(net: Net, seed: int = 0) -> Net:
    """Gives every BatchNorm a gamma (some negative), beta, mean and variance far from 1, 0, 0 and 1; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if not isinstance(module, _BatchNorm):
                continue
            if module.weight is not None:
                signs = torch.where(torch.rand(module.num_features, generator=generator) < 0.3, -1.0, 1.0)
                module.weight.uniform_(0.5, 1.5, generator=generator).mul_(signs)
                module.bias.normal_(0, 0.3, generator=generator)
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.4, 2.0, generator=generator)
    return net.eval()
