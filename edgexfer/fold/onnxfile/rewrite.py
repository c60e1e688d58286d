"""Carries a plan out on a copy of the model, in the model's own precision or in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.fold.onnxfile import algebra
from edgexfer.fold.onnxfile.layers import BATCHNORM, Layer
from edgexfer.fold.onnxfile.plan import GraphPlan
from edgexfer.fold.onnxfile.shapes import keep, put
from edgexfer.fold.onnxfile.view import FLOATS, View, input_of, reads


def fold(model: onnx.ModelProto, plan: GraphPlan, *, float64: bool = False) -> onnx.ModelProto:
    """The folded copy of a model.

    Args:
        model: The model that the plan was made for, or its float64 copy.
        plan: What to fold.
        float64: Leave the folded constants in float64; only for the float64 copy.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    editor = _Editor(made, float64)
    gone: set[int] = set()
    for step in plan.steps:
        gone.update((step.batchnorm, *step.through))
        batchnorm, layer = editor.nodes[step.batchnorm], editor.nodes[step.layer]
        if step.side == "after":
            layer.output[0] = batchnorm.output[0]
        else:
            editor.replace_reads(batchnorm.output[0], batchnorm.input[0])
    for layer_plan in plan.layers.values():
        editor.set_layer(layer_plan)
    scaled = {index: editor.scale(index, *how) for index, how in plan.scales.items()}
    editor.finish(gone, scaled)
    return made


class _Editor:
    """The changes to one model, made in place."""

    def __init__(self, model: onnx.ModelProto, float64: bool) -> None:
        self.model, self.float64 = model, float64
        self.view = View(model)
        self.nodes = self.view.nodes
        self.names = {n for node in self.nodes for n in (*node.input, *node.output)}
        self.names |= {t.name for t in model.graph.initializer}
        self.added: list[onnx.TensorProto] = []
        self.read_before = {name for node in self.nodes for name in reads(node)}
        self.contents: dict[tuple[str, bytes], str] = {}

    def replace_reads(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def set_layer(self, layer: Layer) -> None:
        """Gives a node the constants of ``layer``."""
        node = self.nodes[layer.index]
        dtype = np.dtype(np.float64) if self.float64 else layer.dtype
        weight = self._constant(layer.weight, dtype, input_of(node, 1))
        bias = self._constant(layer.bias, dtype, input_of(node, 2) or f"{self.view.labels[layer.index]}_bias")
        if layer.kind == BATCHNORM:
            node.input[1:3] = [weight, bias]
            return
        if layer.kind == "MatMul":
            node.op_type = "Gemm"
        elif layer.kind == "Gemm":
            kept = [a for a in node.attribute if a.name != "beta"]
            del node.attribute[:]
            node.attribute.extend(kept)
        node.input[:] = [node.input[0], weight, bias]

    def scale(self, index: int, affine: algebra.Affine, rank: int) -> list[onnx.NodeProto]:
        """The product and the sum that stand in place of a BatchNorm."""
        node, label = self.nodes[index], self.view.labels[index]
        tensor = self.view.tensor(node.input[1])
        dtype = np.dtype(np.float64) if self.float64 or tensor is None else FLOATS[tensor.data_type]
        shape = (-1, *[1] * (rank - 2))
        if bool((affine.scale == 1).all()):
            offset = self._constant(affine.shift.reshape(shape), dtype, f"{label}_offset")
            return [helper.make_node("Add", [node.input[0], offset], [node.output[0]], name=f"{label}_add")]
        scale = self._constant(affine.scale.reshape(shape), dtype, f"{label}_scale")
        shift = self._constant(affine.shift.reshape(shape), dtype, f"{label}_shift")
        middle = self._unused(f"{label}_scaled")
        return [
            helper.make_node("Mul", [node.input[0], scale], [middle], name=f"{label}_mul"),
            helper.make_node("Add", [middle, shift], [node.output[0]], name=f"{label}_add"),
        ]

    def finish(self, gone: set[int], scaled: dict[int, list[onnx.NodeProto]]) -> None:
        """Drops what vanished, and the constants that nobody reads any more because of it."""
        graph = self.model.graph
        kept = [n for i, node in enumerate(self.nodes) if i not in gone for n in scaled.get(i, [node])]
        outputs = {o.name for o in graph.output}
        while True:
            read = outputs | {name for node in kept for name in reads(node)}
            orphans = self.read_before - read
            idle = [n for n in kept if n.op_type in ("Constant", "Identity") and set(n.output) <= orphans]
            if not idle:
                break
            kept = [n for n in kept if not any(n is other for other in idle)]
        made = {name for node in kept for name in node.output}
        dropped = {t.name for t in graph.initializer} & orphans
        put(graph.node, kept)
        keep(graph.input, lambda value: value.name not in dropped)
        keep(graph.initializer, lambda tensor: tensor.name not in dropped)
        keep(graph.value_info, lambda value: value.name in made)
        graph.initializer.extend(self.added)
        if self.model.ir_version < 4:
            graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.added)

    def _constant(self, value: np.ndarray, dtype: np.dtype[Any], wanted: str) -> str:
        """The name of an initializer with that content; nodes that shared one and agree share the new one too."""
        fitted = algebra.fit(value, dtype)
        if fitted is None:
            raise OverflowError(f"{wanted} overflows, though the plan found that it fits")
        key = wanted, fitted.tobytes()
        if key not in self.contents:
            self.contents[key] = self._unused(wanted if wanted not in self.names else f"{wanted}_folded")
            self.added.append(numpy_helper.from_array(np.ascontiguousarray(fitted), self.contents[key]))
        return self.contents[key]

    def _unused(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.names:
            name, number = f"{wanted}_{number}", number + 1
        self.names.add(name)
        return name
