"""BatchNorm's running statistics, exactly those of given pictures.

A running average by momentum remembers the last steps of training, under augmentation and with weights that still
moved. What inference wants are the statistics of the final weights: mean and variance of each channel over all pictures
(Ioffe and Szegedy 2015, algorithm 2, steps 8 to 11, with the population variance).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def reestimate(net: nn.Module, batches: Iterable[Mapping[str, torch.Tensor]], device: torch.device) -> int:
    """Replaces the running statistics of every BatchNorm of ``net`` by those of ``batches``, in place.

    All layers are estimated in the same pass: each normalises a batch by that batch, as it did in training, and the
    statistics of all batches are pooled with the weight of their size (the variance between batches included). A last
    batch of one picture, which has no variance of its own, joins the one before it.

    Args:
        net: The network; it is left in the mode that it was in.
        batches: ``inputs (N, 3, H, W)`` each; two pictures in all at least.
        device: Where it computes.

    Returns:
        How many layers were re-estimated.
    """
    layers = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    sums: dict[nn.Module, list[torch.Tensor]] = {}
    modes = {module: module.training for module in net.modules()}

    def remember(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        values = _float64(inputs[0].detach()).transpose(0, 1).flatten(1)
        count = torch.tensor(float(values.shape[1]))
        found = [count, values.sum(1).cpu(), values.square().sum(1).cpu()]
        known = sums.get(layer)
        sums[layer] = found if known is None else [a + b for a, b in zip(known, found, strict=True)]

    hooks = [layer.register_forward_pre_hook(remember) for layer in layers]
    kept = {layer: layer.momentum for layer in layers}
    try:
        net.eval()
        for layer in layers:
            layer.train()
            layer.momentum = 0.0
        for inputs in _without_a_lone_last(batches):
            net(inputs.to(device))
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.momentum = kept[layer]
        for module, mode in modes.items():
            module.training = mode
    for known, (count, total, squares) in sums.items():
        _set_statistics(known, count, total, squares)
    return len(sums)


def _float64(values: torch.Tensor) -> torch.Tensor:
    """The values in float64, on the CPU where their device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _without_a_lone_last(batches: Iterable[Mapping[str, torch.Tensor]]) -> Iterator[torch.Tensor]:
    """The inputs of the batches; a single picture joins those before it."""
    held: torch.Tensor | None = None
    for batch in batches:
        inputs = batch["inputs"]
        if held is not None and len(inputs) == 1:
            held = torch.cat([held, inputs])
            continue
        if held is not None:
            yield held
        held = inputs
    if held is not None:
        yield held


def _set_statistics(layer: nn.Module, count: torch.Tensor, total: torch.Tensor, squares: torch.Tensor) -> None:
    """Writes mean and population variance of ``count`` values into a BatchNorm's running statistics."""
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    layer.running_mean.copy_(mean)  # type: ignore[operator]
    layer.running_var.copy_(variance)  # type: ignore[operator]
