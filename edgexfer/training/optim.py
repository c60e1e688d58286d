"""Optimisers and the schedule.

The learning rate rises linearly over the warm-up steps w and then follows half a cosine to zero (Loshchilov and
Hutter, "SGDR", ICLR 2017, equation 5, one cycle), with n steps in all:

    lr(i) = lr * (i + 1) / w                                    for i < w
    lr(i) = lr * (1 + cos(pi * (i - w) / (n - w))) / 2          else

Weight decay acts on weights only, never on BatchNorm's gamma and beta or on biases (He et al., "Bag of Tricks",
CVPR 2019, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from edgexfer.errors import TrainingError

OPTIMIZERS = ("adamw", "sgd")
SGD_MOMENTUM = 0.9


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The trainable parameters in two groups: weights, which decay, and vectors (biases, norms), which do not."""
    trainable = [p for p in net.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizer(net: nn.Module, name: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum 0.9, or AdamW.

    Raises:
        TrainingError: The optimiser is unknown, or nothing is left to train.
    """
    groups = [group for group in parameter_groups(net, weight_decay) if group["params"]]
    if not groups:
        raise TrainingError("every parameter of the network is frozen; nothing is left to train")
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=SGD_MOMENTUM, nesterov=True)
    raise TrainingError(f"no optimiser is called {name!r}; allowed: {', '.join(OPTIMIZERS)}")


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``; see the module's formula."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * min(1.0, share))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def training_mode(net: nn.Module) -> None:
    """``net.train()``, but BatchNorm whose own parameters are frozen stays in inference mode.

    A frozen BatchNorm that went on updating its running statistics would change the very features that were meant
    to stay as they are.
    """
    net.train()
    for module in batchnorms(net.modules()):
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()


def batchnorms(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those of ``modules`` that are BatchNorm."""
    return [m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm)]
