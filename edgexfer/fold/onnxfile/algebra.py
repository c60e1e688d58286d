"""The algebra of folding in NumPy, in float64; the formulas stand in ``edgexfer.fold.algebra``.

What ONNX adds: ``Gemm`` with its ``alpha``, ``beta`` and transposed weights, and ``MatMul``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Affine:
    """``y = scale x + shift`` per channel; both float64 ``(C,)``."""

    scale: np.ndarray
    shift: np.ndarray

    def then(self, second: Affine) -> Affine:
        """``second(self(x))`` as one scale and shift."""
        return Affine(second.scale * self.scale, second.scale * self.shift + second.shift)

    @property
    def finite(self) -> bool:
        """Whether every number is finite."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())


def after(weight: np.ndarray, bias: np.ndarray, bn: Affine, channel: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias ``(out,)`` of a layer followed by ``bn``; ``channel`` is the weight's axis of outputs."""
    shape = [1] * weight.ndim
    shape[channel] = -1
    return weight * bn.scale.reshape(shape), bias * bn.scale + bn.shift


def after_transposed(weight: np.ndarray, bias: np.ndarray, bn: Affine, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for a transposed convolution, whose weight is ``(in, out/groups, *kernel)``."""
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    scale = bn.scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (grouped * scale).reshape(weight.shape), bias * bn.scale + bn.shift


def before(weight: np.ndarray, bias: np.ndarray, bn: Affine, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight ``(out, in/groups, *kernel)`` and bias of a convolution that follows ``bn`` and pads nothing."""
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    shape = (groups, 1, -1, *[1] * (weight.ndim - 2))
    leaked = (grouped * bn.shift.reshape(shape)).sum(axis=tuple(range(2, weight.ndim + 1))).reshape(-1)
    return (grouped * bn.scale.reshape(shape)).reshape(weight.shape), bias + leaked


def before_linear(weight: np.ndarray, bias: np.ndarray, bn: Affine, repeat: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight ``(in, out)`` and bias of a matrix product that follows ``bn``; each channel feeds ``repeat`` rows."""
    scale, shift = np.repeat(bn.scale, repeat), np.repeat(bn.shift, repeat)
    return weight * scale[:, None], bias + shift @ weight


def fit(value: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray | None:
    """``value`` in ``dtype``; ``None`` if it overflows.

    Subnormals become zero (they cost time and mean nothing), but not in float16, whose begin at 6e-5 already.
    """
    import ml_dtypes

    limits: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    if not np.isfinite(value).all() or (np.abs(value) > float(limits.max)).any():
        return None
    least = float(limits.smallest_normal) if dtype != np.float16 else 0.0
    flushed = np.where(np.abs(value) < least, 0.0, value)
    with np.errstate(over="ignore", under="ignore"):
        cast: np.ndarray = flushed.astype(dtype)
    return cast if np.isfinite(cast.astype(np.float64)).all() else None


def misfit(weight: np.ndarray, bias: np.ndarray, dtype: np.dtype[Any]) -> str | None:
    """What becomes of a layer's weight and bias in ``dtype``: ``"overflow"``, ``"vanish"``, or ``None`` if they fit.

    They vanish where rounding takes more than a digit of the largest number: all are below what ``dtype`` can hold.
    """
    import ml_dtypes

    eps = float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    largest = max(float(np.abs(value).max(initial=0.0)) for value in (weight, bias))
    for value in (weight, bias):
        cast = fit(value, dtype)
        if cast is None:
            return "overflow"
        if float(np.abs(cast.astype(np.float64) - value).max(initial=0.0)) > eps * largest:
            return "vanish"
    return None
