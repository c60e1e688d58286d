"""HardSwish, HardSigmoid and LeakyReLU of an int8 graph as what ONNX Runtime is quick at in 8 bits; no runtime.

For the first two it has float kernels only. Both are made of the gate ``clip(x / 6 + 1/2, 0, 1)``. Let ``x`` be
rounded with a scale of ``3 / n``, n whole, and a range that begins at -3, below which the gate is 0 anyway:
``x = (q - n) * 3 / n`` for q from 0. Then the gate is ``min(q, 2 n) / (2 n)``: the same 8-bit number, clipped, read
with another scale and zero point. Nothing is rounded for it. HardSwish becomes an 8-bit Clip and an 8-bit product, a
HardSigmoid the Clip alone.

    Q -> DQ -> HardSwish -> Q     becomes     Q -> DQ ----------> Mul -> Q
                                                -> Clip -> DQ -/

Where that range would round ``x`` too coarsely, or something else reads it, ``x`` stays as it is: ``x + 3``, rounded to
8 bits from 0 to 6, is cut by their ends, and read from 0 to 1 it is the gate.

LeakyReLU ``a x + (1 - a) max(x, 0)`` is looked up in a table there, one number after the other. Both summands are the
same 8-bit number ``q`` with zero point ``z``, once as it is and once as ``max(q, z)``, read with ``a`` and ``1 - a``
times its scale: a Clip and a sum, each of many numbers at once, where nothing more is rounded than before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.export.held import drop_unread, sort_nodes
from edgexfer.fold.onnxfile.shapes import put
from edgexfer.fold.onnxfile.view import attribute

EDGE = 3.0
"""Where the gate becomes constant, on both sides of zero."""
COARSEST = 1.5
"""How many times the step of a HardSwish's input may grow."""


def in_8_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an int8 model whose activations between 8-bit values are written so; itself where there is none."""
    if not any(node.op_type in ("HardSwish", "HardSigmoid", "LeakyRelu") for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    gates = _Gates(made)
    for node in list(made.graph.node):
        if node.op_type == "HardSwish":
            gates.hard_swish(node)
        elif node.op_type == "HardSigmoid" and _is_of_hard_swish(node):
            gates.hard_sigmoid(node)
        elif node.op_type == "LeakyRelu":
            gates.leaky_relu(node)
    nodes = [n for n in made.graph.node if n.output[0] not in gates.superfluous]
    put(made.graph.node, [*nodes, *gates.added])
    made.graph.initializer.extend(gates.tensors)
    drop_unread(made)
    sort_nodes(made)
    return made


def _is_of_hard_swish(node: onnx.NodeProto) -> bool:
    """Whether a HardSigmoid has the slope and height that PyTorch's has; ONNX's own defaults are others."""
    return math.isclose(attribute(node, "alpha", 0.2), 1 / 6, rel_tol=1e-6) and attribute(node, "beta", 0.5) == 0.5


class _Gates:
    """The activations of one model, and what becomes of it.

    Attributes:
        added: Nodes to be put in.
        tensors: Constants that they read.
        superfluous: Outputs of the nodes that they replace.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.added: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.superfluous: set[str] = set()
        self._constants = {t.name: t for t in model.graph.initializer}
        self._outputs = {o.name for o in model.graph.output}
        self._producer = {o: n for n in model.graph.node for o in n.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def hard_swish(self, node: onnx.NodeProto) -> None:
        """``x -> HardSwish -> Q`` becomes ``x * gate -> Q``."""
        x = self._rounded(node.input[0])
        if x is None or self._read_by(node.output[0], "QuantizeLinear") is None:
            return
        is_free = x.is_alone and self._read_by(node.input[0], "HardSwish") is not None
        gate = f"{node.output[0]}_gate"
        self._gate(x, gate, node.name, x.high if is_free else None)
        self._put("Mul", [node.input[0], gate], node.output[0], node.name)
        self.superfluous.add(node.output[0])

    def hard_sigmoid(self, node: onnx.NodeProto) -> None:
        """``x -> HardSigmoid -> Q -> DQ`` becomes ``x -> gate``; with a product of both it is a HardSwish."""
        x = self._rounded(node.input[0])
        above = self._read_by(node.output[0], "QuantizeLinear")
        below = above and self._read_by(above.output[0], "DequantizeLinear")
        if x is None or above is None or below is None:
            return
        others = [n for n in self._readers[node.input[0]] if n != node]
        swish = [n for n in others if n.op_type == "Mul" and set(n.input) == {node.input[0], below.output[0]}]
        high = x.high if others else min(x.high, EDGE)
        is_free = x.is_alone and swish == others
        self._gate(x, below.output[0], node.name, high if is_free else None, COARSEST if others else math.inf)
        self.superfluous.update(n.output[0] for n in (node, above, below))

    def leaky_relu(self, node: onnx.NodeProto) -> None:
        """``x -> LeakyRelu -> Q`` becomes a sum of the parts of ``x``; where activations are uint8, as on x86."""
        x = self._rounded(node.input[0])
        slope = attribute(node, "alpha", 0.01)
        if x is None or x.zero.dtype != np.uint8 or not 0 < slope < 1:
            return
        if self._read_by(node.output[0], "QuantizeLinear") is None:
            return
        zero, whole, positive = x.quantize.input[2], f"{node.output[0]}_part", f"{node.output[0]}_positive"
        number, clipped = x.quantize.output[0], f"{positive}_8_bit"
        self._put("Clip", [number, zero], clipped, f"{node.name}_clip")
        for source, part, share in ((number, whole, slope), (clipped, positive, 1 - slope)):
            scale = self._constant(f"{part}_scale", share * x.step)
            self._put("DequantizeLinear", [source, scale, zero], part, part)
        self._put("Add", [whole, positive], node.output[0], node.name)
        self.superfluous.add(node.output[0])

    def _rounded(self, name: str) -> _Rounded | None:
        """The value of that name, where it is in 8 bits."""
        below = self._producer.get(name)
        above = self._producer.get(below.input[0]) if below is not None else None
        if below is None or above is None or (below.op_type, above.op_type) != ("DequantizeLinear", "QuantizeLinear"):
            return None
        scale, zero = (numpy_helper.to_array(self._constants[i]) for i in above.input[1:])
        is_alone = name not in self._outputs and self._read_by(above.output[0], "DequantizeLinear") is not None
        return _Rounded(above, below, float(scale), zero, is_alone)

    def _read_by(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The only reader of a value, where it is of that kind and reads it once."""
        readers = self._readers.get(name, [])
        is_alone = len(readers) == 1 and readers[0].op_type == kind and name not in self._outputs
        return readers[0] if is_alone else None

    def _gate(self, x: _Rounded, result: str, label: str, high: float | None, coarsest: float = COARSEST) -> None:
        """Adds the gate of ``x`` as ``result``; ``x`` may be rounded anew from -3 to ``high``, where that is told."""

        def constant(name: str, value: float, kind: Any = np.float32) -> str:
            # a file may name a node as its output, and the quantizer has constants of the outputs' names
            return self._constant(f"{label}_8_bit_{name}", value, kind)

        kind = x.zero.dtype
        lowest, highest = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
        low = constant("low", lowest, kind)
        half = 0 if high is None else min(int(EDGE * (highest - lowest) / (high + EDGE)), highest - lowest)
        if half and EDGE / half <= coarsest * x.step:
            scale, zero = constant("scale", EDGE / half), constant("zero_point", lowest + half, kind)
            for node in (x.quantize, x.dequantize):
                node.input[1:] = [scale, zero]
            most = constant("high", min(lowest + 2 * half, highest), kind)
            self._put("Clip", [x.quantize.output[0], low, most], f"{result}_8_bit", f"{label}_clip")
            step = constant("gate_scale", 1 / (2 * half))
        else:
            edge, sum_ = f"{label}_edge", f"{label}_sum"
            self._put("DequantizeLinear", [constant("one", lowest + 1, kind), constant("three", EDGE), low], edge, edge)
            self._put("Add", [x.dequantize.output[0], edge], sum_, sum_)
            scale = constant("sum_scale", 2 * EDGE / (highest - lowest))
            self._put("QuantizeLinear", [sum_, scale, low], f"{result}_8_bit", f"{label}_clip")
            step = constant("gate_scale", 1 / (highest - lowest))
        self._put("DequantizeLinear", [f"{result}_8_bit", step, low], result, f"{label}_gate")

    def _constant(self, name: str, value: float, kind: Any = np.float32) -> str:
        self.tensors.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def _put(self, kind: str, inputs: Sequence[str], output: str, name: str) -> None:
        self.added.append(helper.make_node(kind, inputs, [output], name=name))


@dataclass(frozen=True)
class _Rounded:
    """A value between a QuantizeLinear and a DequantizeLinear.

    Attributes:
        quantize: The first of the two.
        dequantize: The second.
        step: Of the rounding.
        zero: The zero point.
        is_alone: Whether the 8-bit number is read as this value only.
    """

    quantize: onnx.NodeProto
    dequantize: onnx.NodeProto
    step: float
    zero: np.ndarray
    is_alone: bool

    @property
    def high(self) -> float:
        """The largest value that can be told."""
        return self.step * (int(np.iinfo(self.zero.dtype).max) - int(self.zero))
