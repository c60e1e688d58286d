"""Shape inference without the weights gives what ONNX's own gives with them; fields are replaced in place."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgexfer.fold.onnxfile.shapes import SMALL, infer_in_place, inferred, keep, put, without_weights


def model() -> onnx.ModelProto:
    """A convolution with a large weight, and a Reshape whose shape is a small constant."""
    weight = np.random.default_rng(0).standard_normal((64, 3, 3, 3)).astype(np.float32)
    shape = np.array([0, 4, -1], np.int64)
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
        helper.make_node("Relu", ["z"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(shape, "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_the_shapes_are_those_that_onnx_infers_with_the_weights() -> None:
    made, right = model(), onnx.shape_inference.infer_shapes(model())
    assert len(right.graph.value_info) == 2 and right.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 4
    found = inferred(made)
    assert list(found.value_info) == list(right.graph.value_info) and list(found.output) == list(right.graph.output)
    assert made == model()
    infer_in_place(made)
    assert made == right


def test_what_is_inferred_on_holds_no_weights() -> None:
    bare = {tensor.name: tensor for tensor in without_weights(model()).graph.initializer}
    assert list(bare["weight"].dims) == [64, 3, 3, 3] and np.prod(bare["weight"].dims) > SMALL
    assert bare["weight"].data_type == TensorProto.FLOAT and not bare["weight"].HasField("raw_data")
    assert bare["shape"] == model().graph.initializer[1]


def test_a_field_takes_what_was_its_own() -> None:
    made = model()
    nodes = made.graph.node
    put(nodes, [nodes[2], nodes[0]])
    assert [node.op_type for node in nodes] == ["Relu", "Conv"] and nodes[1] == model().graph.node[0]
    keep(made.graph.initializer, lambda tensor: tensor.name == "shape")
    assert [tensor.name for tensor in made.graph.initializer] == ["shape"]
    keep(nodes, lambda node: False)
    assert not nodes
