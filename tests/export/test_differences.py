from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx import helper

from edgexfer.export.differences import differences


def network() -> onnx.ModelProto:
    """Three nodes, two of one name and one without any."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="twin"),
        helper.make_node("Sigmoid", ["a"], ["b"], name="twin"),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, ["N", 3]) for name in ("x", "y")]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def inner_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "a"


def more_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", 1, [1]))


def wider_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = 11


def other_opset(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="theirs", version=1)


def older_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 8


def local_function(model: onnx.ModelProto) -> None:
    relu = [helper.make_node("Neg", ["i"], ["o"])]
    model.functions.append(helper.make_function("", "Relu", ["i"], ["o"], relu, [helper.make_opsetid("", 18)]))


def hidden_twin(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Neg"


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].domain = "theirs"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (inner_output, "outputs: [('a', 'tensor_type', 1, ['N', 3])], expected [('y', 'tensor_type', 1, ['N', 3])]"),
        (more_inputs, "inputs: [('x', "),
        (wider_output, "outputs: [('y', 'tensor_type', 11, "),
        (other_opset, "opsets: [('ai.onnx', 18), ('theirs', 1)], expected [('ai.onnx', 18)]"),
        (older_ir, "IR version: 8, expected 9"),
        (local_function, "local functions: [('', 'Relu')], expected []"),
        (hidden_twin, "the node 'a' (Neg) has other inputs, outputs or attributes"),
        (foreign_operator, "the node 'y' (Identity) has other inputs, outputs or attributes"),
    ],
)
def test_whatever_gives_other_answers_is_told(change: Callable[[onnx.ModelProto], None], told: str) -> None:
    model, wanted = network(), network()
    assert differences(model, wanted) == []
    change(model)
    (found,) = differences(model, wanted)
    assert found.startswith(told)
