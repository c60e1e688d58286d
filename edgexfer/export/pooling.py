"""Pooling as ONNX Runtime likes it: the same function, by another operator or in another order."""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper

from edgexfer.fold.onnxfile.shapes import put, replace_nodes
from edgexfer.fold.onnxfile.view import View, attribute, averages_channels


def averages_to_pools(model: onnx.ModelProto) -> None:
    """ReduceMean over height and width becomes GlobalAveragePool, in place.

    It has an 8-bit form; ReduceMean has none and would be a float island. In float32, ReduceMean makes whatever follows
    leave the blocked layout in which convolutions are computed: squeeze-and-excitation takes two reorderings more.
    """
    if not any(node.op_type == "ReduceMean" for node in model.graph.node):
        return
    view = View(model)
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(view.nodes):
        if node.op_type != "ReduceMean" or not averages_channels(view, index):
            nodes.append(node)
        elif attribute(node, "keepdims", 1):
            nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], list(node.output), name=node.name))
        else:
            pooled = f"{node.output[0]}_pooled"
            nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=f"{node.name}_pool"))
            nodes.append(helper.make_node("Flatten", [pooled], list(node.output), name=node.name, axis=1))
    replace_nodes(model, nodes)


def behind_pooling(model: onnx.ModelProto, kinds: Collection[str], names: Collection[str] | None = None) -> None:
    """Moves activations behind the max pooling that alone reads them, in place; inferred shapes are forgotten.

    A function that never falls and a maximum may change places exactly, and there are fewer values left to compute.

    Args:
        model: The model.
        kinds: Activations that never fall: of ``Relu``, ``Clip`` and ``LeakyRelu``, this one only where it does not.
        names: Nodes that may be moved; ``None`` for all.
    """
    present = {node.op_type for node in model.graph.node}
    if "MaxPool" not in present or not present.intersection(kinds):
        return
    view = View(model)
    order = list(range(len(view.nodes)))
    for index, pool in enumerate(view.nodes):
        above = view.producer.get(pool.input[0]) if view.is_a(index, "MaxPool") else None
        if above is None or not view.is_a(above, *kinds) or len(pool.output) != 1:
            continue
        activation = view.nodes[above]
        if names is not None and not {activation.name, pool.name} <= set(names):
            continue
        if view.users[activation.output[0]] != [index] or activation.output[0] in view.outputs:
            continue
        if attribute(activation, "alpha", 0.01) < 0:
            continue
        before, middle, after = activation.input[0], activation.output[0], pool.output[0]
        pool.input[0], pool.output[0], activation.input[0], activation.output[0] = before, middle, middle, after
        order.remove(above)
        order.insert(order.index(index) + 1, above)
    if order != sorted(order):
        put(model.graph.node, [view.nodes[i] for i in order])
        model.graph.ClearField("value_info")
