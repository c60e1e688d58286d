"""BatchNorm over the whole batch, though each process has a part of it.

    mu = 1/N sum_r sum_i x_ri,      sigma^2 = 1/N sum_r sum_i (x_ri - mu)^2

over the N values of a channel in all processes r; the gradient passes through both sums. PyTorch's own
``SyncBatchNorm`` does this on GPUs only, and is used there; on CPUs two sums are exchanged a layer and direction.

Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 1; across processes: Zhang et al., "Context
Encoding for Semantic Segmentation", CVPR 2018, section 3.1.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)


def synchronised(net: M, device: torch.device) -> M:
    """``net`` with every BatchNorm synchronised, in place; its state dict keeps its names."""
    if device.type == "cuda":
        return cast(M, nn.SyncBatchNorm.convert_sync_batchnorm(net))  # type: ignore[no-untyped-call]
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(parent, name, SyncedBatchNorm.of(child))
    return net


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm whose training statistics are those of all processes; in inference mode the ordinary one.

    Processes differ in how many batches they evaluate, so they must not wait for one another there, even for a layer
    that keeps no statistics.
    """

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> SyncedBatchNorm:
        """The same layer, sharing parameters and statistics."""
        synced = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        synced.weight, synced.bias = norm.weight, norm.bias
        synced.running_mean, synced.running_var = norm.running_mean, norm.running_var
        synced.num_batches_tracked = norm.num_batches_tracked
        return synced.train(norm.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Values (N, C, ...) in and out."""
        if not self.training:
            of_the_batch = self.running_mean is None
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, of_the_batch, 0.0, self.eps
            )
        x = input if input.dtype == torch.float64 else input.float()
        places = [0, *range(2, x.ndim)]
        here = torch.cat([x.sum(places), x.new_tensor([x.numel() / x.shape[1]])])
        sums = _sum_over_all(here)
        count = sums[-1].detach()
        shape = (1, -1, *[1] * (x.ndim - 2))
        centred = x - (sums[:-1] / count).reshape(shape)
        variance = _sum_over_all(centred.square().sum(places)) / count
        self._follow((sums[:-1] / count).detach(), variance.detach() * count / (count - 1).clamp_min(1))
        y: torch.Tensor = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        if self.affine:
            y = y * self.weight.reshape(shape) + self.bias.reshape(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Moves the running statistics; ``variance`` is the unbiased one, as in ``nn.BatchNorm2d``."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any number of places is fine."""


def _sum_over_all(here: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, _SumOverAll.apply(here))  # type: ignore[no-untyped-call]


class _SumOverAll(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, here: torch.Tensor) -> torch.Tensor:
        total = here.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        total = slopes[0].clone()
        distributed.all_reduce(total)
        return total
