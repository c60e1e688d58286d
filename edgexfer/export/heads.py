"""A 1x1 convolution over one pixel is a matrix product: written as Gemm, the head keeps float32 logits in int8 too."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def convolution_to_gemm(model: onnx.ModelProto) -> None:
    """Replaces ``embedding -> Unsqueeze -> Conv 1x1 -> Reshape -> logits`` by one Gemm, in place, where it stands."""
    nodes = {o: n for n in model.graph.node for o in n.output}
    chain: list[onnx.NodeProto] = []
    value = "logits"
    for kinds in (("Reshape", "Flatten", "Squeeze"), ("Conv",), ("Unsqueeze", "Reshape")):
        node = nodes.get(value)
        if node is None or node.op_type not in kinds:
            return
        chain.append(node)
        value = node.input[0]
    conv = chain[1]
    weight = next((t for t in model.graph.initializer if t.name == conv.input[1]), None)
    inner = {chain[1].output[0], chain[2].output[0]}
    readers = [n for n in model.graph.node if inner & set(n.input)]
    shared = [n for n in model.graph.node if n is not conv and conv.input[1] in n.input]
    grouped = any(a.name == "group" and a.i != 1 for a in conv.attribute)
    if value != "embedding" or weight is None or list(weight.dims[2:]) != [1, 1] or len(readers) != 2:
        return
    if shared or grouped:
        return
    flat = np.ascontiguousarray(numpy_helper.to_array(weight)[:, :, 0, 0])
    weight.CopyFrom(numpy_helper.from_array(flat, weight.name))
    gemm = helper.make_node("Gemm", [value, *conv.input[1:]], ["logits"], name=conv.name, transB=1)
    _replace(model, chain, gemm)


def _replace(model: onnx.ModelProto, old: list[onnx.NodeProto], new: onnx.NodeProto) -> None:
    """Puts ``new`` at the end in place of ``old``, and drops the tensors and hints that nobody reads any more."""
    kept = [n for n in model.graph.node if not any(n is o for o in old)]
    nodes = [*kept, new]
    names = {i for n in nodes for i in n.input} | {o for n in nodes for o in n.output}
    used = [t for t in model.graph.initializer if t.name in names]
    hints = [v for v in model.graph.value_info if v.name in names - {t.name for t in used}]
    for field, entries in (("node", nodes), ("initializer", used), ("value_info", hints)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(entries)
