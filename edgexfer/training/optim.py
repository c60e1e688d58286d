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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from edgexfer.errors import RecipeError, TrainingError

OPTIMIZERS = ("adamw", "sgd")
SGD_MOMENTUM = 0.9
FUSED_ON = ("cpu", "cuda")
"""Devices on which one kernel updates all parameters: on a CPU a fifth of the time of one tensor after the other."""


@dataclass(frozen=True)
class LayerPlan:
    """Which parameters learn from which epoch on, and how fast beside the others.

    Discriminative learning rates and gradual unfreezing (Howard and Ruder, "Universal Language Model Fine-tuning for
    Text Classification", ACL 2018, sections 3.2 and 3.3). What the plan does not name learns from the start at the full
    rate.

    Attributes:
        scales: Factor on the learning rate by the parameter's name.
        thaws: Epoch (from 0) from which a parameter learns, by its name; ``None`` for never.
    """

    scales: Mapping[str, float] = field(default_factory=dict)
    thaws: Mapping[str, int | None] = field(default_factory=dict)

    def learns(self, name: str) -> bool:
        """Whether the parameter ever learns."""
        return self.thaws.get(name, 0) is not None

    def thaw(self, net: nn.Module, epoch: int) -> None:
        """Freezes what does not learn in this epoch, and only that, among the parameters that the plan names."""
        for name, parameter in net.named_parameters():
            if name in self.thaws:
                start = self.thaws[name]
                parameter.requires_grad_(start is not None and epoch >= start)


def parameter_groups(net: nn.Module, weight_decay: float, layers: LayerPlan | None = None) -> list[dict[str, Any]]:
    """The parameters that learn, grouped: weights, which decay, and vectors (biases, norms), which do not; by rate.

    Each group carries ``scale``, its factor on the learning rate.
    """
    plan = layers or LayerPlan()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if (parameter.requires_grad or name in plan.thaws) and plan.learns(name):
            groups.setdefault((plan.scales.get(name, 1.0), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": members, "weight_decay": weight_decay if decays else 0.0, "scale": scale}
        for (scale, decays), members in groups.items()
    ]


def build_optimizer(
    net: nn.Module, name: str, lr: float, weight_decay: float, layers: LayerPlan | None = None
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum 0.9, or AdamW.

    Raises:
        TrainingError: The optimiser is unknown, or nothing is left to train.
    """
    groups = parameter_groups(net, weight_decay, layers)
    if not groups:
        raise TrainingError("every parameter of the network is frozen; nothing is left to train")
    fused = all(p.device.type in FUSED_ON for group in groups for p in group["params"])
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, fused=fused)
    if name == "sgd":
        joins_later = layers is not None and any(
            layers.thaws.values()
        )  # the kernel wants every momentum from the start
        fused = fused and not joins_later
        return torch.optim.SGD(groups, lr=lr, momentum=SGD_MOMENTUM, nesterov=True, fused=fused)
    raise TrainingError(f"no optimiser is called {name!r}; allowed: {', '.join(OPTIMIZERS)}")


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``; see the module's formula."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * min(1.0, share))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every group, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("scale", 1.0)


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


def refuse_single_pictures(net: nn.Module, batch_size: int, layers: LayerPlan | None = None) -> None:
    """Refuses batches of one picture, which have no variance, where BatchNorm learns by batches.

    Args:
        net: The network; it goes to training mode.
        batch_size: Pictures a step.
        layers: Which layers learn, where ``--bn`` has a say in it; all if ``None``.

    Raises:
        RecipeError: ``batch_size`` is 1, and some BatchNorm is not kept as it is.
    """
    if batch_size > 1:
        return
    net.train()
    plan = layers or LayerPlan()
    for path, module in net.named_modules():
        own = [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
        if module.training and batchnorms([module]) and (not own or any(plan.learns(name) for name in own)):
            frozen = "" if layers is None else ", or keep the BatchNorm of trained weights as it is with --bn frozen"
            raise RecipeError(
                f"batch_size is {batch_size}, and BatchNorm learns from the pictures of a batch together; pass"
                f" --batch-size 2 or more{frozen}"
            )


def batchnorms(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those of ``modules`` that are BatchNorm."""
    return [m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm)]
