"""The float32 graph as 8-bit arithmetic likes it: the same function, with other operators.

- Averages over all of a channel's pixels become GlobalAveragePool, as in every file that is exported now.
- LeakyReLU moves behind max pooling: a rising function and a maximum may change places exactly, and there are a
  quarter of the values left.
- A BatchNorm that no layer took up becomes a depthwise 1x1 convolution, which has an 8-bit form too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.export.pooling import averages_to_pools, behind_pooling
from edgexfer.fold.onnxfile.layers import BATCHNORM, No, read_batchnorm
from edgexfer.fold.onnxfile.shapes import replace_nodes
from edgexfer.fold.onnxfile.view import View


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes the same and quantizes better; ``model`` is not changed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    averages_to_pools(made)
    behind_pooling(made, ["LeakyRelu"])
    _batchnorm_to_depthwise(made)
    return made


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
    replace_nodes(model, nodes)
