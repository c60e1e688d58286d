"""The rewrite: takes each BatchNorm of a plan out and puts its scale and shift into the layer that takes it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgexfer.fold import algebra, modules
from edgexfer.fold.values import Fold, FoldPlan, Kept


def fold_in_place(net: nn.Module, plan: FoldPlan, dtypes: Mapping[str, torch.dtype]) -> FoldPlan:
    """Carries out ``plan`` on ``net``, whose tensors are float64, and returns what was really done.

    A fold whose weights would overflow or vanish in the layer's own precision is left out, and so is what was to
    follow it into the same layer.

    Args:
        net: The network, changed in place: layers get new weights and a bias, BatchNorm layers become identities.
        plan: What to fold.
        dtypes: The precision that each parameter and buffer had before it became float64.
    """
    layers = dict(net.named_modules())
    grouped: dict[str, list[Fold]] = {}
    for fold in sorted(plan.folds, key=lambda fold: fold.side):  # "after" first: a BatchNorm may take one up, then melt
        grouped.setdefault(fold.batchnorm, []).append(fold)
    done: list[Fold] = []
    kept = list(plan.kept)
    full: set[str] = set()
    for name, folds in grouped.items():
        reason = _fold_one(layers, folds, dtypes, full)
        if reason is None:
            _replace(net, layers[name], nn.Identity().train(layers[name].training))
            done += folds
        else:
            full.update(fold.conv for fold in folds)
            kept.append(Kept(name, reason))
    return FoldPlan(tuple(sorted(done, key=plan.folds.index)), tuple(kept))


def _fold_one(
    layers: Mapping[str, nn.Module], folds: list[Fold], dtypes: Mapping[str, torch.dtype], full: set[str]
) -> str | None:
    """Puts one BatchNorm into the layers that take it up, or into none of them and says why."""
    numbers = modules.affine_of(layers[folds[0].batchnorm])
    ready = []
    for fold in folds:
        if fold.conv in full or fold.batchnorm in full:
            return f"another BatchNorm between it and {fold.conv!r} had to stay"
        layer = layers[fold.conv]
        dtype = dtypes[_measure(layer, f"{fold.conv}.weight")]
        weight, bias = folded_tensors(layer, numbers, fold.side)
        if (lost := algebra.misfit(weight, bias, dtype)) is not None:
            return f"the folded weights of {fold.conv!r} would {lost} in {str(dtype).removeprefix('torch.')}"
        ready.append((layer, weight, bias))
    for layer, weight, bias in ready:
        _set(layer, weight, bias)
    return None


def folded_tensors(layer: Any, bn: algebra.Affine, side: str) -> tuple[Tensor, Tensor]:
    """The weight and bias, float64, with which ``layer`` does the work of the BatchNorm on its ``side`` too."""
    if modules.is_batchnorm(layer):
        own = modules.affine_of(layer)
        unit = torch.rsqrt(layer.running_var.double() + float(layer.eps))
        both = algebra.compose(own, bn)
        return both.scale / unit, both.shift + layer.running_mean.double() * both.scale
    weight: Tensor = layer.weight.detach()
    bias: Tensor | None = None if layer.bias is None else layer.bias.detach()
    groups = int(getattr(layer, "groups", 1))
    if side == "before":
        return algebra.before(weight, bias, bn, groups)
    if isinstance(layer, modules.TRANSPOSED):
        return algebra.after_transposed(weight, bias, bn, groups)
    return algebra.after(weight, bias, bn)


def tensor_slots(net: nn.Module) -> dict[str, tuple[dict[str, Tensor | None], str]]:
    """Every parameter and buffer of ``net`` by its path: the dictionary it lives in, and its key there."""
    return {
        f"{path}.{key}" if path else key: (slots, key)
        for path, module in net.named_modules()
        for slots in (module._parameters, module._buffers)
        for key in slots
    }


def precisions(net: nn.Module) -> dict[str, torch.dtype]:
    """The precision of every parameter and buffer of ``net`` by its path."""
    found = {path: slots[key] for path, (slots, key) in tensor_slots(net).items()}
    return {path: tensor.dtype for path, tensor in found.items() if tensor is not None}


def restore_precision(net: nn.Module, plan: FoldPlan, dtypes: Mapping[str, torch.dtype]) -> None:
    """Brings the folded network from float64 back to the precision each tensor had.

    A tensor that folding made takes its layer's precision; all others come back bit by bit.
    """
    made = {f"{fold.conv}.{key}" for fold in plan.folds for key in ("weight", "bias")}
    for path, (slots, key) in tensor_slots(net).items():
        tensor = slots[key]
        if tensor is None or not tensor.is_floating_point():
            continue
        value: Tensor | None
        if path in made:
            value = algebra.fit(tensor.detach(), dtypes[_measure(net.get_submodule(path.rpartition(".")[0]), path)])
        else:
            value = tensor.detach().to(dtypes[path])
        if value is None:
            raise OverflowError(f"{path} overflows, though the rewrite found that it fits")
        if isinstance(tensor, nn.Parameter):
            tensor.data = value
        else:
            slots[key] = value


def _measure(layer: nn.Module, path: str) -> str:
    """The tensor whose precision a folded tensor at ``path`` takes; a plain BatchNorm may have had no weight."""
    return f"{path.rpartition('.')[0]}.{'running_mean' if modules.is_batchnorm(layer) else 'weight'}"


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    """Gives ``layer`` its folded weight and bias: parameters that train as its old ones did, buffers if frozen."""
    if modules.is_frozen_batchnorm(layer):
        layer.weight, layer.bias = weight, bias
        return
    old = layer.weight
    trains = bool(old.requires_grad) if isinstance(old, nn.Parameter) else True
    layer.weight = nn.Parameter(weight, requires_grad=trains)
    layer.bias = nn.Parameter(bias, requires_grad=trains)


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts ``new`` wherever ``old`` stands; a module may have several parents."""
    for parent in net.modules():
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
