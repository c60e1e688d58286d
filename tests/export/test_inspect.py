from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgexfer.errors import ExportError
from edgexfer.export import inspect
from edgexfer.export.inspect import inspect_model
from edgexfer.fold.onnxfile.float64 import limited_memory


def network(**batchnorm: np.ndarray) -> onnx.ModelProto:
    """BatchNorm at the input, then a grouped, a transposed and a linear layer."""
    values = {"gamma": np.ones(4), "beta": np.zeros(4), "mean": np.zeros(4), "var": np.ones(4)} | batchnorm
    shapes = {"w": (8, 2, 3, 3), "b": (8,), "t": (8, 2, 2, 2), "g": (2, 5)}
    tensors = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()]
    tensors += [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("BatchNormalization", ["x", *values], ["n"], name="bn"),
        helper.make_node("Conv", ["n", "w", "b"], ["c"], name="conv", group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["c", "t"], ["u"], name="up", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["u"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "g"], ["y"], name="head"),
    ]
    info = helper.make_tensor_value_info
    made = helper.make_graph(nodes, "g", [info("x", 1, ["N", 4, 8, 6])], [info("y", 1, ["N", 5])], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_cost_of_each_layer() -> None:
    found = inspect_model(network())
    assert found.opset == 17 and found.operators["Gemm"] == 1 and not found.islands
    layers = {layer.name: layer for layer in found.layers}
    assert layers["conv"].output_shape == (1, 8, 4, 3)
    assert layers["conv"].multiply_adds == 8 * 4 * 3 * 2 * 9 and layers["conv"].parameters == 8 * 2 * 9 + 8
    assert layers["conv"].output_bytes == 4 * 8 * 4 * 3 and layers["conv"].weight_bytes == 4 * (8 * 2 * 9 + 8)
    assert layers["up"].multiply_adds == 8 * 4 * 3 * 2 * 4
    assert layers["head"].multiply_adds == 2 * 5


def test_statistics_that_fit_have_no_remark() -> None:
    rng = np.random.default_rng(0)
    mean, spread = rng.normal(size=4), rng.uniform(0.5, 2, 4)
    x = (rng.normal(size=(64, 4, 8, 6)) * spread[:, None, None] + mean[:, None, None]).astype(np.float32)
    found = inspect_model(network(mean=mean, var=spread**2), np.array_split(x, 7))
    state = found.batchnorms[0]
    assert found.images == 64 and state.remark == "" and state.channels == 4
    wide = x.astype(np.float64)
    drift = np.abs(wide.mean(axis=(0, 2, 3)) - mean.astype(np.float32)) / np.sqrt((spread**2).astype(np.float32) + 1e-5)
    assert state.drift == pytest.approx(drift.max(), rel=1e-4)
    ratio = (wide.var(axis=(0, 2, 3)) + 1e-5) / ((spread**2).astype(np.float32) + 1e-5)
    assert state.spread == pytest.approx(np.maximum(ratio, 1 / ratio).max(), rel=1e-4)


def test_what_is_wrong_is_remarked() -> None:
    x = np.random.default_rng(1).normal(5, 3, (16, 4, 8, 6)).astype(np.float32)
    gamma, var = np.array([1.0, 1e-9, 2.0, 1.0]), np.array([1.0, 1.0, 1e-4, 1.0])
    state = inspect_model(network(gamma=gamma, var=var), [x]).batchnorms[0]
    assert (state.dead, state.exploding) == (1, 1)
    assert state.remark == "1 dead, 1 exploding, the mean drifted, the variance changed"
    assert state.largest_scale == pytest.approx(2 / np.sqrt(1e-4 + 1e-5), rel=1e-5)
    still = inspect_model(network(var=np.array([1.0, 0.0, 1.0, 1.0]))).batchnorms[0]
    assert still.dead == 1 and still.drift is None


def test_a_batchnorm_that_is_no_scale_says_why() -> None:
    state = inspect_model(network(var=-np.ones(4))).batchnorms[0]
    assert state.channels == 0 and "no finite scale and shift" in state.remark


def test_a_batchnorm_without_channels_is_told() -> None:
    none = dict.fromkeys(("gamma", "beta", "mean", "var"), np.zeros(0))
    state = inspect_model(network(**none)).batchnorms[0]
    assert (state.channels, state.remark) == (0, "it has no channels")


def test_a_file_whose_shapes_cannot_be_inferred_is_shown_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(model: onnx.ModelProto) -> onnx.ModelProto:
        raise onnx.shape_inference.InferenceError("an odd one")

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", refused)
    found = inspect_model(network())
    assert {layer.output_shape for layer in found.layers} == {()}
    assert {layer.multiply_adds for layer in found.layers} == {None}


def test_a_file_that_asks_for_too_much_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "limited_memory", lambda: limited_memory(2**28))
    model = network()
    model.graph.initializer.append(numpy_helper.from_array(np.array([20_000, 20_000]), "sizes"))
    for place, (kind, given, made) in enumerate(
        [("ConstantOfShape", "sizes", "huge"), ("ReduceMax", "huge", "most"), ("Add", "most", "r")]
    ):
        more = ["x"] if kind == "Add" else []
        model.graph.node.insert(place, helper.make_node(kind, [given, *more], [made]))
    model.graph.node[3].input[0] = "r"
    with pytest.raises(ExportError):
        inspect_model(model, [np.zeros((1, 4, 8, 6), np.float32)])


def test_pictures_that_do_not_fit_are_an_error() -> None:
    model = network()
    model.graph.node.insert(0, helper.make_node("Relu", ["x"], ["r"]))
    model.graph.node[1].input[0] = "r"
    with pytest.raises(ExportError, match="does not run on these pictures"):
        inspect_model(model, [np.zeros((1, 3, 8, 6), np.float32)])
