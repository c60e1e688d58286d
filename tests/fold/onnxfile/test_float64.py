"""The float64 evaluation against ONNX Runtime, where the reference needed mending."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgexfer.fold.onnxfile.float64 import Evaluator, to_float64


def pooled(size: int, **form: object) -> onnx.ModelProto:
    """A file that is one MaxPool over pictures of ``size`` pixels."""
    node = helper.make_node("MaxPool", ["x"], ["y"], **form)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, size, size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "pool", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize(
    "form",
    [
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2]},
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "pads": [0, 1, 1, 0], "strides": [2, 1], "dilations": [2, 1]},
    ],
)
def test_maxpool_of_every_form_is_the_runtimes(size: int, ceil_mode: int, form: dict[str, list[int]]) -> None:
    model = pooled(size, ceil_mode=ceil_mode, **form)
    x = np.random.default_rng(0).normal(0, 1, (2, 3, size, size)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})[0]
    found = Evaluator(to_float64(model)).run({"x": x.astype(np.float64)}, set())["y"]
    assert found.shape == expected.shape
    assert np.array_equal(found.astype(np.float32), expected)  # a maximum is one of the numbers, rounded nowhere
