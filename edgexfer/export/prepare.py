"""The float32 graph as 8-bit arithmetic likes it: the same function, with other operators.

- Averages over all of a channel's pixels become GlobalAveragePool, which has an 8-bit form; ReduceMean has none and
  would be a float island. Float32 files are written so, too: in ONNX Runtime a ReduceMean makes whatever follows leave
  the blocked layout in which convolutions are computed, and squeeze-and-excitation takes two reorderings more.
- LeakyReLU moves behind max pooling: a rising function and a maximum may change places exactly, and there are a
  quarter of the values left.
- A BatchNorm that no layer took up becomes a depthwise 1x1 convolution, which has an 8-bit form too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.fold.onnxfile.layers import BATCHNORM, No, read_batchnorm
from edgexfer.fold.onnxfile.shapes import infer_in_place, keep, put
from edgexfer.fold.onnxfile.view import View, attribute, averages_channels


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes the same and quantizes better; ``model`` is not changed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    averages_to_pools(made)
    _leaky_relu_behind_pooling(made)
    _batchnorm_to_depthwise(made)
    return made


def averages_to_pools(model: onnx.ModelProto) -> None:
    """ReduceMean over height and width becomes GlobalAveragePool, in place."""
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
    _replace(model, nodes)


def _leaky_relu_behind_pooling(model: onnx.ModelProto) -> None:
    view = View(model)
    order = list(range(len(view.nodes)))
    for index, node in enumerate(view.nodes):
        above = view.producer.get(node.input[0]) if view.is_a(index, "MaxPool") else None
        if above is None or not view.is_a(above, "LeakyRelu") or len(node.output) != 1:
            continue
        relu = view.nodes[above]
        if view.users[relu.output[0]] != [index] or relu.output[0] in view.outputs:
            continue
        if attribute(relu, "alpha", 0.01) < 0:
            continue
        before, middle, after = relu.input[0], relu.output[0], node.output[0]
        node.input[0], node.output[0], relu.input[0], relu.output[0] = before, middle, middle, after
        order.remove(above)
        order.insert(order.index(index) + 1, above)
    _replace(model, [view.nodes[i] for i in order])


def _batchnorm_to_depthwise(model: onnx.ModelProto) -> None:
    view = View(model)
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(view.nodes):
        try:
            if not view.is_a(index, BATCHNORM) or view.ranks.get(node.input[0]) != 4:
                raise No("it is none")
            affine = read_batchnorm(view, index).affine
        except No:
            nodes.append(node)
            continue
        label, width = view.labels[index], len(affine.scale)
        weight = affine.scale.astype(np.float32).reshape(width, 1, 1, 1)
        names = [f"{label}_scale", f"{label}_shift"]
        for name, value in zip(names, (weight, affine.shift.astype(np.float32)), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
        made = helper.make_node("Conv", [node.input[0], *names], list(node.output), name=label, group=width)
        nodes.append(made)
    _replace(model, nodes)


def _replace(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Puts ``nodes`` in place of the graph's own; shapes are inferred anew, unread constants dropped."""
    read = {name for node in nodes for name in node.input} | {o.name for o in model.graph.output}
    put(model.graph.node, nodes)
    keep(model.graph.initializer, lambda tensor: tensor.name in read)
    model.graph.ClearField("value_info")
    infer_in_place(model)
