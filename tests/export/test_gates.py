"""Gates in 8 bits: the same numbers as the float operators give of the same rounded values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgexfer.export import qdq
from edgexfer.export.gates import in_8_bits
from edgexfer.export.opsets import hard_swish
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.runtime import open_session

VALUES = np.linspace(-9, 9, 4001, dtype=np.float32).reshape(1, 1, 1, -1)
SHAPE = ["N", "C", "H", "W"]


def rounded(
    name: str, low: float, high: float, kind: type[np.generic]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """A value and its wrap: ``name -> Q -> DQ -> name_r``."""
    limits = np.iinfo(kind)  # type: ignore[type-var]
    scale = np.array((high - low) / 255, np.float32)
    zero = np.array(np.clip(np.round(limits.min - low / scale), limits.min, limits.max), kind)
    tensors = [numpy_helper.from_array(scale, f"{name}_s"), numpy_helper.from_array(zero, f"{name}_z")]
    nodes = [
        helper.make_node(op, [source, f"{name}_s", f"{name}_z"], [result], name=f"{name}_{op}")
        for op, source, result in (
            ("QuantizeLinear", name, f"{name}_q"),
            ("DequantizeLinear", f"{name}_q", f"{name}_r"),
        )
    ]
    return nodes, tensors


def network(
    nodes: list[onnx.NodeProto], wrapped: dict[str, tuple[float, float]], kind: type[np.generic], outputs: list[str]
) -> onnx.ModelProto:
    """``nodes`` between wraps of some values; ``x`` is the input."""
    tensors: list[onnx.TensorProto] = []
    every = list(nodes)
    for name, (low, high) in wrapped.items():
        pair, constants = rounded(name, low, high, kind)
        place = next((i + 1 for i, n in enumerate(every) if name in n.output), 0)
        every[place:place] = pair
        tensors += constants
    values = [helper.make_tensor_value_info(o, 1, SHAPE) for o in outputs]
    source = helper.make_tensor_value_info("x", 1, SHAPE)
    graph = helper.make_graph(every, "g", [source], values, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def swish(
    kind: type[np.generic],
    is_decomposed: bool = False,
    x: tuple[float, float] = (-7.0, 8.0),
    y: tuple[float, float] = (-0.375, 8.2),
) -> onnx.ModelProto:
    """HardSwish as one operator or as two, as older opsets have it; with the ranges of its input and output."""
    node = helper.make_node("HardSwish", ["x_r"], ["y"], name="swish")
    wrapped = {"x": x, "y": y}
    if not is_decomposed:
        return network([node], wrapped, kind, ["y_r"])
    gate, product = hard_swish(node)
    product.input[1] = "y_gate_r"
    return network([gate, product], {**wrapped, "y_gate": (0.0, 1.0)}, kind, ["y_r"])


def excitation(kind: type[np.generic]) -> onnx.ModelProto:
    """A HardSigmoid that weighs something else."""
    gate = helper.make_node("HardSigmoid", ["x_r"], ["gate"], name="gate", alpha=1 / 6, beta=0.5)
    return network([gate], {"x": (-9.0, 9.0), "gate": (0.0, 1.0)}, kind, ["gate_r"])


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def answer(model: onnx.ModelProto, name: str | None = None) -> np.ndarray:
    """The first output, or that of the name."""
    return np.asarray(open_session(model.SerializeToString()).run(name and [name], {"x": VALUES})[0])


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("is_decomposed", [False, True])
def test_hard_swish_is_a_product_of_8_bit_numbers(kind: type[np.generic], is_decomposed: bool) -> None:
    model = swish(kind, is_decomposed=is_decomposed)
    before = model.SerializeToString()
    made = in_8_bits(model)
    onnx.checker.check_model(made, full_check=True)
    assert kinds(made) == {"QuantizeLinear", "DequantizeLinear", "Clip", "Mul"} and model.SerializeToString() == before
    x = np.clip(np.round(VALUES * 69 / 3), -69, 255 - 69) * 3 / 69  # the finest step that reaches from -3 to 8
    exact = x * np.clip(x / 6 + 0.5, 0, 1)
    assert np.abs(answer(made) - exact).max() <= 0.51 * (8.575 / 255)
    # half a step of either input, 15 / 255 and 3 / 69, where the function is steepest, 1.5: 0.077
    assert np.abs(answer(made) - answer(model)).max() <= 0.08 and answer(made)[VALUES < -3].max() == 0


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_a_hard_sigmoid_is_its_input_clipped_and_read_anew(kind: type[np.generic]) -> None:
    made = in_8_bits(excitation(kind))
    onnx.checker.check_model(made, full_check=True)
    assert [n.op_type for n in made.graph.node] == ["QuantizeLinear", "Clip", "DequantizeLinear"]
    exact = np.clip(VALUES / 6 + 0.5, 0, 1)
    assert np.abs(answer(made) - exact).max() <= 0.51 / 254


def test_onnx_runtime_computes_it_with_8_bit_kernels(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    made = in_8_bits(swish(np.uint8))
    onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert kinds(onnx.load(tmp_path / "optimised.onnx")) == {"QuantizeLinear", "Clip", "QLinearMul", "DequantizeLinear"}


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("is_decomposed", [False, True])
def test_a_range_far_from_the_edge_stays_as_it_is(kind: type[np.generic], is_decomposed: bool) -> None:
    made = in_8_bits(swish(kind, is_decomposed=is_decomposed, x=(-0.3, 0.5), y=(-0.15, 0.3)))
    assert kinds(made) == {"QuantizeLinear", "DequantizeLinear", "Add", "Mul"}
    x = np.clip(VALUES, -0.3, 0.5)  # rounded like the answer by half a step; the gate, by half of 1 / 255, weighs x
    assert np.abs(answer(made) - x * np.clip(x / 6 + 0.5, 0, 1)).max() <= (0.51 * 0.45 + 0.51 * 0.8 + 0.5 * 0.5) / 255


@pytest.mark.parametrize("reader", ["x_q", "x_r"])
def test_what_others_read_too_stays_as_it_is(reader: str) -> None:
    model = swish(np.uint8)
    kind = onnx.TensorProto.UINT8 if reader == "x_q" else onnx.TensorProto.FLOAT
    model.graph.node.append(helper.make_node("Identity", [reader], ["seen"], name="seen"))
    model.graph.output.append(helper.make_tensor_value_info("seen", kind, SHAPE))
    made = in_8_bits(model)
    assert "HardSwish" not in kinds(made) and np.abs(answer(made) - answer(model)).max() <= 0.08
    assert np.array_equal(answer(made, "seen"), answer(model, "seen"))


def test_an_answer_is_not_rounded() -> None:
    model = swish(np.uint8)
    model.graph.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, SHAPE))
    assert "HardSwish" in kinds(in_8_bits(model))


def leaky(kind: type[np.generic], slope: float = 0.1) -> onnx.ModelProto:
    return network([helper.make_node("LeakyRelu", ["x_r"], ["y"], name="leaky", alpha=slope)],
                   {"x": (-7.0, 8.0), "y": (-7 * slope, 8.0)}, kind, ["y_r"])  # fmt: skip


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.9])
def test_leaky_relu_is_a_sum_of_two_readings_of_one_number(slope: float) -> None:
    model = leaky(np.uint8, slope)
    made = in_8_bits(model)
    onnx.checker.check_model(made, full_check=True)
    assert kinds(made) == {"QuantizeLinear", "DequantizeLinear", "Clip", "Add"}
    x = np.clip(np.round(VALUES / (15 / 255)), -119, 136) * (15 / 255)
    step = (8 + 7 * slope) / 255
    assert np.abs(answer(made) - np.where(x < 0, slope * x, x)).max() <= 0.501 * step
    assert np.abs(answer(made) - answer(model)).max() <= 1.001 * step  # where both are half a step from the truth


def test_leaky_relu_of_8_bits_is_a_sum_in_onnx_runtime_too(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(
        in_8_bits(leaky(np.uint8)).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    assert kinds(onnx.load(tmp_path / "optimised.onnx")) == {"QuantizeLinear", "Clip", "QLinearAdd", "DequantizeLinear"}


@pytest.mark.parametrize(("kind", "slope"), [(np.int8, 0.1), (np.uint8, 1.5), (np.uint8, -0.1), (np.uint8, 0.0)])
def test_leaky_relu_of_signed_numbers_or_of_another_slope_stays(kind: type[np.generic], slope: float) -> None:
    model = leaky(kind, 0.1)
    next(n for n in model.graph.node if n.op_type == "LeakyRelu").attribute[0].f = slope
    assert "LeakyRelu" in kinds(in_8_bits(model))


@pytest.mark.parametrize(("place", "value"), [(0, 0.2), (1, 0.4)])
def test_another_hard_sigmoid_is_left_as_it_is(place: int, value: float) -> None:
    model = excitation(np.uint8)
    next(n for n in model.graph.node if n.op_type == "HardSigmoid").attribute[place].f = value
    assert "HardSigmoid" in kinds(in_8_bits(model))


@pytest.mark.parametrize("activation", ["HardSwish", "LeakyRelu"])
def test_a_node_that_is_named_as_its_output_has_constants_of_its_own(activation: str) -> None:
    source = helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])
    result = helper.make_tensor_value_info("y", 1, ["N", 3, 8, 8])
    weight = numpy_helper.from_array(np.full((3, 3, 1, 1), 0.1, np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c"),
        helper.make_node(activation, ["c"], ["a"], name="a"),
        helper.make_node("Conv", ["a", "w"], ["y"], name="y"),
    ]
    made = helper.make_graph(nodes, "g", [source], [result], [weight])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    plan = QuantizationPlan("d", "x86", "minmax", True, dict.fromkeys(qdq.activations(model), (-3.0, 3.0)))
    int8 = qdq.quantize(model, plan)
    onnx.checker.check_model(int8, full_check=True)
    names = [t.name for t in int8.graph.initializer]
    assert activation not in kinds(int8) and len(names) == len(set(names))
