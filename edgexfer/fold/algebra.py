r"""The algebra of folding, in float64.

A BatchNorm that uses its running statistics is an affine map per channel c:

    y = gamma (x - mean) / sqrt(var + eps) + beta  =  s x + t
    s = gamma / sqrt(var + eps),    t = beta - mean s

(Ioffe and Szegedy 2015, algorithm 2, step 11), so it melts into any linear layer beside it:

    conv, then BN            W'[o, i, k] = s[o] W[o, i, k]               b'[o] = s[o] b[o] + t[o]
    linear, then BN          the same with no k
    transposed conv, then BN W'[i, j, k] = s[o] W[i, j, k]               b'[o] = s[o] b[o] + t[o]
                             W is (in, out/groups, *k); o = g (out/groups) + j, g = the group of i
    BN, then conv            W'[o, j, k] = s[i] W[o, j, k]               b'[o] = b[o] + sum_{j,k} t[i] W[o, j, k]
                             W is (out, in/groups, *k); i = g (in/groups) + j, g = the group of o
                             exact only where every output sees the whole kernel: no zero padding
    BN 1, then BN 2          s = s2 s1,  t = s2 t1 + t2

Grouped and depthwise convolutions need no case of their own after the layer (s belongs to the output channel) and
only the group's offset before it. Everything here is a pure function on float64 tensors; `fit` brings a result
to the network's own precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """``y = scale x + shift`` per channel; both ``(C,)`` float64."""

    scale: Tensor
    shift: Tensor


def affine(gamma: Tensor | None, beta: Tensor | None, mean: Tensor, var: Tensor, eps: float) -> Affine:
    """The scale and shift that a BatchNorm amounts to; ``None`` for gamma or beta means 1 or 0."""
    scale = torch.rsqrt(var.double() + eps)
    if gamma is not None:
        scale = gamma.double() * scale
    shift = -mean.double() * scale
    if beta is not None:
        shift = beta.double() + shift
    return Affine(scale, shift)


def compose(first: Affine, second: Affine) -> Affine:
    """``second(first(x))`` as one scale and shift."""
    return Affine(second.scale * first.scale, second.scale * first.shift + second.shift)


def after(weight: Tensor, bias: Tensor | None, bn: Affine) -> tuple[Tensor, Tensor]:
    """Weight ``(out, in/groups, *kernel)`` and bias ``(out,)`` of a convolution or linear layer followed by ``bn``."""
    scaled = weight.double() * bn.scale.reshape(-1, *[1] * (weight.ndim - 1))
    return scaled, _after_bias(bias, bn)


def after_transposed(weight: Tensor, bias: Tensor | None, bn: Affine, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Weight ``(in, out/groups, *kernel)`` and bias ``(out,)`` of a transposed convolution followed by ``bn``."""
    grouped = weight.double().reshape(groups, -1, *weight.shape[1:])
    scale = bn.scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (grouped * scale).reshape(weight.shape), _after_bias(bias, bn)


def before(weight: Tensor, bias: Tensor | None, bn: Affine, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Weight ``(out, in/groups, *kernel)`` and bias ``(out,)`` of a convolution or linear layer that follows ``bn``.

    Exact only where the layer pads nothing, or pads with values that ``bn`` has touched (reflect, replicate,
    circular); the caller sees to that.
    """
    grouped = weight.double().reshape(groups, -1, *weight.shape[1:])
    per_input = (groups, 1, -1, *[1] * (weight.ndim - 2))
    leaked = (grouped * bn.shift.reshape(per_input)).flatten(2).sum(2).flatten()
    scaled = (grouped * bn.scale.reshape(per_input)).reshape(weight.shape)
    return scaled, leaked if bias is None else bias.double() + leaked


def fit(value: Tensor, dtype: torch.dtype) -> Tensor | None:
    """``value`` in ``dtype``; ``None`` if it overflows.

    Subnormals become zero (they cost time and mean nothing), but not in float16, whose begin at 6e-5 already.
    """
    if not bool(torch.isfinite(value).all()):
        return None
    least = torch.finfo(dtype).tiny if dtype is not torch.float16 else 0.0
    flushed = torch.where(value.abs() < least, torch.zeros((), dtype=value.dtype, device=value.device), value)
    cast = flushed.to(dtype)
    return cast if bool(torch.isfinite(cast).all()) else None


def misfit(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> str | None:
    """What becomes of a layer's weight and bias in ``dtype``: ``"overflow"``, ``"vanish"``, or ``None`` if they fit.

    They vanish where rounding takes more than a digit of the largest number: all are below what ``dtype`` can hold.
    """
    values = [value for value in (weight, bias) if value.numel()]
    fitted = [fit(value, dtype) for value in values]
    largest = max((float(value.abs().max()) for value in values), default=0.0)
    for value, cast in zip(values, fitted, strict=True):
        if cast is None:
            return "overflow"
        if float((cast.double() - value).abs().max()) > torch.finfo(dtype).eps * largest:
            return "vanish"
    return None


def _after_bias(bias: Tensor | None, bn: Affine) -> Tensor:
    return bn.shift.clone() if bias is None else bias.double() * bn.scale + bn.shift
