from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgexfer.errors import QuantizationError
from edgexfer.export import calibrate, graph, kernels, qdq
from edgexfer.export.float_layers import leave_in_float
from edgexfer.export.held import weighted_layers
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.prepare import prepare
from edgexfer.export.runtime import open_session
from tests.export.nets import TALL, make_pixels


def network(activation: str = "LeakyRelu", seed: int = 0) -> onnx.ModelProto:
    """Pixels, Conv, activation, MaxPool, a residual pair, Concat, a BatchNorm, an average, Gemm."""
    rng = np.random.default_rng(seed)
    tensors = []

    def tensor(*shape: int, low: float = -0.4, high: float = 0.4) -> str:
        tensors.append(numpy_helper.from_array(rng.uniform(low, high, shape).astype(np.float32), f"t{len(tensors)}"))
        return f"t{len(tensors) - 1}"

    tensors.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    node = helper.make_node
    nodes = [
        node("Transpose", ["image"], ["p"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["p"], ["f"], name="cast", to=1),
        node("Mul", ["f", tensor(1, low=0.01, high=0.011)], ["x"], name="scale"),
        node("Conv", ["x", tensor(8, 3, 3, 3), tensor(8)], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        node(activation, ["a"], ["b"], name="act1"),
        node("MaxPool", ["b"], ["c"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["c", tensor(8, 8, 3, 3), tensor(8)], ["d"], name="conv2", pads=[1, 1, 1, 1]),
        node(activation, ["d"], ["e"], name="act2"),
        node("Add", ["c", "e"], ["g"], name="sum"),
        node("Concat", ["g", "e"], ["h"], name="join", axis=1),
        node("BatchNormalization", ["h", *(tensor(16, low=0.5, high=1.5) for _ in range(4))], ["i"], name="bn"),
        node("Relu", ["i"], ["j"], name="relu"),
        node("Conv", ["j", tensor(8, 16, 1, 1), tensor(8)], ["k"], name="conv3"),
        node("ReduceMean", ["k", "axes"], ["embedding"], name="mean", keepdims=0),
        node("Gemm", ["embedding", tensor(8, 3), tensor(3)], ["logits"], name="head"),
    ]
    info = helper.make_tensor_value_info
    outputs = [info("logits", 1, ["N", 3]), info("embedding", 1, ["N", 8])]
    made = helper.make_graph(nodes, "g", [info("image", 2, ["N", 24, 32, 3])], outputs, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    return inferred


def answers(model: onnx.ModelProto, pixels: np.ndarray, optimised: bool = True, output: str = "logits") -> np.ndarray:
    session = open_session(graph.to_bytes(model), optimised=optimised)
    return np.asarray(session.run([output], {"image": pixels})[0])


def test_prepared_it_computes_the_same_with_other_operators() -> None:
    model, pixels = network(), make_pixels(4)
    made = prepare(model)
    onnx.checker.check_model(made, full_check=True)
    kinds = [n.op_type for n in made.graph.node]
    assert not {"ReduceMean", "BatchNormalization"} & set(kinds)
    assert kinds[3:6] == ["Conv", "MaxPool", "LeakyRelu"] and kinds.count("GlobalAveragePool") == 1
    wanted = answers(model, pixels, optimised=False)
    assert np.abs(answers(made, pixels, optimised=False) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_a_falling_function_stays_before_the_maximum() -> None:
    model = network()
    model.graph.node[4].attribute.append(helper.make_attribute("alpha", -0.2))
    assert [n.op_type for n in prepare(model).graph.node][3:6] == ["Conv", "LeakyRelu", "MaxPool"]


@pytest.mark.parametrize("activation", ["LeakyRelu", "Relu"])
@pytest.mark.parametrize(
    "left", [(), ("conv1",), ("conv2",), ("conv1", "conv2"), ("conv3",), ("head",), ("conv1", "conv2", "bn", "conv3")]
)
def test_layers_left_in_float_compute_in_float(activation: str, left: tuple[str, ...]) -> None:
    model, pixels = prepare(network(activation)), make_pixels(6)
    ranges = calibrate.calibrate(model, [pixels], TALL, "uint8").ranges["minmax"]
    plan = QuantizationPlan("d", "x86", "minmax", True, ranges, left)
    assert weighted_layers(model) == ["conv1", "conv2", "bn", "conv3", "head"]
    made = qdq.quantize(model, plan)
    wraps = {o for n in made.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    nodes = {n.name: n for n in made.graph.node}
    for name in weighted_layers(model):
        assert (nodes[name].input[1] in wraps) == (name not in left)
    wanted, found = answers(model, pixels), answers(made, pixels)
    assert np.abs(found - wanted).max() <= 0.06 * np.abs(wanted).max()
    assert np.abs(found - answers(made, pixels, optimised=False)).max() <= 0.02 * np.abs(wanted).max()
    assert qdq.quantize(model, plan).SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)


def test_a_float_layer_pools_before_its_relu_is_rounded() -> None:
    model = prepare(network("Relu"))
    ranges = dict.fromkeys(qdq.activations(model), (-1.0, 1.0))
    made = qdq.quantize(model, QuantizationPlan("d", "x86", "minmax", True, ranges, ("conv1",)))
    reader = {name: node for node in made.graph.node for name in node.input[:1]}
    chain = ["x"]
    while chain[-1] in reader and len(chain) < 5:
        chain.append(reader[chain[-1]].output[0])
    assert [reader[name].op_type for name in chain[:-1]] == ["Conv", "MaxPool", "Relu", "QuantizeLinear"]


def test_what_is_only_joined_is_rounded_as_the_joint_is() -> None:
    model = prepare(network("Relu"))
    ranges = {name: (-1.0 - i, 2.0 + i) for i, name in enumerate(qdq.activations(model))}
    made = qdq.quantize(model, QuantizationPlan("d", "x86", "minmax", True, ranges))
    constants = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    wraps = {n.input[0]: constants[n.input[1]] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    assert wraps["g"] == wraps["h"] == np.float32((ranges["h"][1] - ranges["h"][0]) / 255)
    assert wraps["e"] == np.float32((ranges["e"][1] - ranges["e"][0]) / 255) != wraps["h"]  # the sum reads it too


@pytest.mark.parametrize(("target", "middle"), [("x86", 128), ("arm64", 0)])
def test_symmetric_activations_have_zero_in_the_middle(target: str, middle: int) -> None:
    model, pixels = prepare(network("Relu")), make_pixels(6)
    ranges = calibrate.calibrate(model, [pixels], TALL, "uint8").ranges["minmax"]
    wanted = answers(model, pixels)
    for symmetric in (True, False):
        made = qdq.quantize(model, QuantizationPlan("d", target, "minmax", True, ranges, symmetric=symmetric))
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
        zeros = {int(constants[n.input[2]]) for n in made.graph.node if n.op_type == "QuantizeLinear"}
        assert (zeros == {middle}) == symmetric
        assert np.abs(answers(made, pixels, optimised=False) - wanted).max() <= 0.06 * np.abs(wanted).max()


@pytest.mark.parametrize("activation", ["LeakyRelu", "Relu"])
def test_the_time_of_every_layer_is_known_by_its_name(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels = prepare(network(activation)), make_pixels(1)
    ranges = calibrate.calibrate(model, [pixels], TALL, "uint8").ranges["minmax"]
    wrapped = qdq.wrap(model, QuantizationPlan("d", "x86", "minmax", True, ranges))
    assert set(kernels.slower_in_8_bits(model, wrapped, pixels, TALL, "uint8")) <= set(weighted_layers(model))
    monkeypatch.setattr(kernels, "WORTH", -1e9)  # however much faster they are in 8 bits
    assert set(kernels.slower_in_8_bits(model, wrapped, pixels, TALL, "uint8")) == set(weighted_layers(model))


def test_leaving_more_in_float_comes_closer() -> None:
    model, pixels = prepare(network("Relu")), make_pixels(6)
    ranges = calibrate.calibrate(model, [pixels], TALL, "uint8").ranges["minmax"]
    wrapped = qdq.wrap(model, QuantizationPlan("d", "x86", "minmax", False, ranges))
    wanted = answers(model, pixels, output="embedding")
    errors = [
        float(np.abs(answers(leave_in_float(wrapped, model, names), pixels, output="embedding") - wanted).max())
        for names in ((), ("conv1", "conv2", "bn"), ("conv1", "conv2", "bn", "conv3"))
    ]
    assert errors[2] <= 1e-5 * np.abs(wanted).max() < errors[1] < errors[0]


def test_a_plan_for_another_network_is_refused() -> None:
    model = prepare(network())
    ranges = dict.fromkeys(qdq.activations(model), (-1.0, 1.0))
    wrapped = qdq.wrap(model, QuantizationPlan("d", "x86", "minmax", True, ranges))
    with pytest.raises(QuantizationError, match="leaves 'conv9' in float32, and no layer has that name; make it anew"):
        leave_in_float(wrapped, model, ["conv9"])
    with pytest.raises(QuantizationError, match="leaves every layer in float32; use the float32 file"):
        leave_in_float(wrapped, model, weighted_layers(model))
