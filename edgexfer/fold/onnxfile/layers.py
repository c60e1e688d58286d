"""The layers of an ONNX graph that can take up a BatchNorm, read into float64 and changed there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgexfer.fold.onnxfile import algebra
from edgexfer.fold.onnxfile.algebra import Affine
from edgexfer.fold.onnxfile.view import FLOATS, View, attribute, input_of

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
TAKES_BEFORE = ("Conv", "Gemm", "MatMul")
BATCHNORM = "BatchNormalization"


quietly = np.errstate(all="ignore")  # what is not finite is found afterwards and refused


class No(Exception):
    """Carries the reason why a BatchNorm does not melt into its neighbour."""


class Border(No):
    """The reason is the zeros that a layer pads with; carries that layer."""

    def __init__(self, reason: str, layer: Layer) -> None:
        super().__init__(reason)
        self.layer = layer


@dataclass(frozen=True)
class Layer:
    """A layer's constants in float64.

    Attributes:
        index: The node.
        kind: Its operator.
        weight: As the node holds it; for a BatchNorm its gamma ``(C,)``.
        bias: ``(out,)``; for a BatchNorm its beta.
        dtype: The layer's own precision.
        groups: Of a convolution.
        transposed: Whether a Gemm's weight is ``(out, in)``.
        alpha: Of a Gemm.
        mean: Of a BatchNorm.
        unit: ``1 / sqrt(var + eps)`` of a BatchNorm.
    """

    index: int
    kind: str
    weight: np.ndarray
    bias: np.ndarray
    dtype: np.dtype[Any]
    groups: int = 1
    transposed: bool = False
    alpha: float = 1.0
    mean: np.ndarray | None = None
    unit: np.ndarray | None = None

    @property
    def affine(self) -> Affine:
        """What a BatchNorm amounts to."""
        if self.mean is None or self.unit is None:
            raise TypeError(f"a {self.kind} is no BatchNorm")
        scale = self.weight * self.unit
        return Affine(scale, self.bias - self.mean * scale)

    @property
    def channels(self) -> int:
        """How many channels come out."""
        return len(self.bias)

    @quietly
    def followed_by(self, bn: Affine) -> Layer:
        """The layer that does the work of the BatchNorm after it too."""
        if self.mean is not None and self.unit is not None:
            both = self.affine.then(bn)
            return replace(self, weight=both.scale / self.unit, bias=both.shift + self.mean * both.scale)
        if self.kind == "ConvTranspose":
            weight, bias = algebra.after_transposed(self.weight, self.bias, bn, self.groups)
        else:
            by_row = self.kind == "Conv" or self.transposed
            weight, bias = algebra.after(self.weight, self.bias, bn, 0 if by_row else 1)
        return replace(self, weight=weight, bias=bias)

    @quietly
    def preceded_by(self, bn: Affine) -> Layer:
        """The layer that does the work of the BatchNorm before it too."""
        if self.kind == "Conv":
            weight, bias = algebra.before(self.weight, self.bias, bn, self.groups)
            return replace(self, weight=weight, bias=bias)
        rows = self.weight.T if self.transposed else self.weight
        weight, leaked = algebra.before_linear(rows, np.zeros(self.channels), bn, len(rows) // len(bn.scale))
        return replace(self, weight=weight.T if self.transposed else weight, bias=self.bias + self.alpha * leaked)

    def misfit(self) -> str | None:
        """What becomes of its constants in its own precision (``algebra.misfit``); ``None`` if they can be written."""
        return algebra.misfit(self.weight, self.bias, self.dtype)


def read_layer(view: View, index: int) -> Layer:
    """A convolution or matrix product with constant weights.

    Raises:
        No: It has none, or is of a form that folding does not know.
    """
    node = view.nodes[index]
    tensor = view.tensor(input_of(node, 1))
    weight = view.numbers(input_of(node, 1))
    if tensor is None or weight is None:
        why = "can be replaced by whoever runs the file" if node.input[1] in view.replaceable else "is no constant"
        raise No(f"the weight of {view.called(index)} {why}")
    dtype = FLOATS[tensor.data_type]
    given = view.numbers(input_of(node, 2)) if input_of(node, 2) else np.zeros(())
    if given is None:
        raise No(f"the bias of {view.called(index)} is no constant")
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = int(attribute(node, "group", 1))
        fits = weight.ndim >= 3 and groups > 0 and weight.shape[0] % groups == 0
        out = (weight.shape[0] if node.op_type == "Conv" else weight.shape[1] * groups) if fits else 0
        if not fits or given.size not in (1, out) or (given.ndim and given.shape != (out,)):
            raise No(f"{view.called(index)} has a weight of {weight.shape} and a bias of {given.shape}")
        return Layer(index, node.op_type, weight, np.broadcast_to(given, (out,)), dtype, groups)
    return _product(view, index, weight, given, dtype)


def _product(view: View, index: int, weight: np.ndarray, given: np.ndarray, dtype: np.dtype[Any]) -> Layer:
    node = view.nodes[index]
    transposed = bool(attribute(node, "transB", 0))
    if weight.ndim != 2 or (node.op_type == "MatMul" and view.ranks.get(node.input[0]) != 2):
        raise No(f"{view.called(index)} is not known to multiply a 2-D input by a 2-D weight")
    out = weight.shape[0 if transposed else 1]
    if given.ndim > 2 or (given.ndim == 2 and given.shape[0] != 1) or given.shape[-1:] not in ((), (1,), (out,)):
        raise No(f"{view.called(index)} adds a {given.shape} that is not one number a channel")
    alpha, beta = float(attribute(node, "alpha", 1.0)), float(attribute(node, "beta", 1.0))
    bias = np.broadcast_to(beta * given.reshape(-1), (out,))
    return Layer(index, node.op_type, weight, bias, dtype, transposed=transposed, alpha=alpha)


def read_batchnorm(view: View, index: int) -> Layer:
    """A BatchNorm that is a fixed scale and shift.

    Raises:
        No: It is none, with the reason.
    """
    node = view.nodes[index]
    training = attribute(node, "training_mode", 0) or len([o for o in node.output if o]) > 1
    if training or (view.opset < 7 and not attribute(node, "is_test", 0)):
        raise No("it is in training mode and so uses the statistics of each batch (export the network in eval mode)")
    if view.opset < 9 and not attribute(node, "spatial", 1):
        raise No("it normalises each activation by itself (spatial=0), not each channel")
    tensors = [view.tensor(input_of(node, i)) for i in range(1, 5)]
    found = [view.numbers(input_of(node, i)) for i in range(1, 5)]
    values = [value for value in found if value is not None and value.ndim == 1]
    if len(values) < 4 or tensors[0] is None or len({v.shape for v in values}) > 1:
        raise No("its statistics are no constants of one number a channel")
    gamma, beta, mean, var = values
    with np.errstate(all="ignore"):
        unit = 1 / np.sqrt(var + float(attribute(node, "epsilon", 1e-5)))
    layer = Layer(index, BATCHNORM, gamma, beta, FLOATS[tensors[0].data_type], mean=mean, unit=unit)
    if not layer.affine.finite:
        raise No("it has statistics that give no finite scale and shift (NaN, infinite, or a variance below zero)")
    return layer


def constant_affine(view: View, index: int, value: str, channels: int) -> Affine | None:
    """What adding to, or multiplying ``value`` by, one constant a channel amounts to; ``None`` for anything else."""
    node = view.nodes[index]
    if not view.is_a(index, "Add", "Sub", "Mul", "Div") or list(node.input).count(value) != 1:
        return None
    first = node.input[0] == value
    number = view.numbers(node.input[1 if first else 0])
    rank = view.ranks.get(value, 0)
    if number is None or number.ndim > rank or (node.op_type == "Div" and not first):
        return None
    aligned = number.reshape([1] * (rank - number.ndim) + list(number.shape))
    if aligned.size not in (1, channels) or (aligned.size > 1 and aligned.shape[1:2] != (channels,)):
        return None
    per_channel = np.broadcast_to(aligned.reshape(-1), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    with np.errstate(all="ignore"):
        made = {
            "Add": Affine(ones, per_channel),
            "Sub": Affine(ones, -per_channel) if first else Affine(-ones, per_channel),
            "Mul": Affine(per_channel, zeros),
            "Div": Affine(1 / per_channel, zeros),
        }[node.op_type]
    return made if made.finite else None
