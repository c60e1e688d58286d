"""What folding knows about single modules: which it can change, and why not the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from edgexfer.fold.algebra import Affine, affine

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LINEAR_LAYERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_COMPUTING = ("forward", "__call__", "_call_impl", "_conv_forward", "__getattr__")  # what a subclass may have changed


def is_frozen_batchnorm(module: nn.Module) -> bool:
    """Whether this is the FrozenBatchNorm2d of torchvision or detectron2: four buffers, never in training mode."""
    buffers = dict(module.named_buffers(recurse=False))
    return type(module).__name__ == "FrozenBatchNorm2d" and {"weight", "bias", "running_mean", "running_var"} <= set(
        buffers
    )


def is_batchnorm(module: nn.Module) -> bool:
    """Whether this module is a BatchNorm of any kind, foldable or not."""
    return isinstance(module, _BatchNorm) or is_frozen_batchnorm(module)


def is_plain(module: nn.Module) -> bool:
    """Whether this is a layer that folding can change and that computes what torch's class of that name does."""
    if next(module.children(), None) is not None or "forward" in vars(module):
        return False
    if is_frozen_batchnorm(module):
        return True
    kind = type(module)
    return any(
        isinstance(module, known) and all(getattr(kind, key, None) is getattr(known, key, None) for key in _COMPUTING)
        for known in (*LINEAR_LAYERS, *BATCHNORMS)
    )


def passes_through(module: nn.Module) -> bool:
    """Whether this module hands its input on unchanged: an identity, or dropout outside training."""
    return type(module) is nn.Identity or (type(module) in DROPOUTS and not module.training)


def has_hooks(module: nn.Module) -> bool:
    """Whether a forward hook watches or changes what goes through this module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def obstacle(module: nn.Module) -> str | None:
    """Why this layer must stay as it is, whatever stands around it; ``None`` if nothing speaks against changing it."""
    if parametrize.is_parametrized(module):
        return "has parametrisations (remove them first with torch.nn.utils.parametrize.remove_parametrizations)"
    if has_hooks(module):
        return "has forward hooks (weight_norm, spectral_norm and pruning are hooks too: remove them first)"
    if not is_plain(module):
        return f"is of class {type(module).__name__}, which has a forward of its own"
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if any(is_lazy(t) for t in tensors):
        return "is lazy and has not seen its first input"
    return None


def batchnorm_obstacle(module: nn.Module) -> str | None:
    """Why this BatchNorm is no fixed scale and shift; ``None`` if it is one."""
    found = obstacle(module)
    if found is not None:
        return found
    if isinstance(module, _BatchNorm) and module.training:
        return "is in training mode and so uses the statistics of each batch (call net.eval() first)"
    if module.running_mean is None or module.running_var is None:
        return "has no running statistics and so uses those of each batch"
    numbers = affine_of(module)
    if not bool(torch.isfinite(numbers.scale).all() and torch.isfinite(numbers.shift).all()):
        return "has statistics that give no finite scale and shift (NaN, infinite, or a variance below zero)"
    return None


def affine_of(batchnorm: Any) -> Affine:
    """The scale and shift of a BatchNorm with running statistics."""
    gamma, beta, mean, var = (getattr(batchnorm, key) for key in ("weight", "bias", "running_mean", "running_var"))
    eps = batchnorm.eps
    return affine(_detached(gamma), _detached(beta), mean.detach(), var.detach(), float(eps))


def dimensions(module: Any) -> int:
    """How many dimensions a batch has for which this layer's output channels are dimension 1."""
    return 2 if isinstance(module, nn.Linear) else int(module.weight.ndim)


def pads_with_zeros(module: Any) -> bool:
    """Whether a convolution invents zeros at its border, which a BatchNorm before it would have made ``beta``."""
    if isinstance(module, nn.Linear) or module.padding_mode != "zeros":
        return False
    if isinstance(module.padding, str):
        reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return module.padding == "same" and any(reach)
    return any(module.padding)


def _detached(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.detach()
