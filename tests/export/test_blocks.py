"""The first convolution on blocks of pixels: the numbers that it gives of normalised ones, at the borders too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch.nn import functional

from edgexfer.export import blocks, qdq
from edgexfer.export.blocks import in_blocks
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.runtime import open_session

MEANS = np.array([124.0, 116.0, 104.0])
DEVIATIONS = np.array([64.0, 32.0, 128.0])
"""In pixels; powers of two, so that nothing below is rounded but what is meant to be."""
STEP = 1 / 1024


@dataclass(frozen=True)
class Layer:
    """A first convolution."""

    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (2, 2)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    size: tuple[int, int] = (10, 16)
    per_channel: bool = True


LAYERS = [
    Layer(),
    Layer(strides=(1, 1)),
    Layer(strides=(1, 2), size=(7, 24)),
    Layer(pads=(0, 0, 0, 0)),
    Layer(pads=(0, 0, 1, 1)),
    Layer(pads=(2, 0, 0, 3), strides=(3, 1)),
    Layer(kernel=(7, 7), pads=(3, 3, 3, 3)),
    Layer(kernel=(11, 11), strides=(4, 4), pads=(2, 2, 2, 2), size=(32, 28)),
    Layer(kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0)),
    Layer(kernel=(2, 9), strides=(2, 4), pads=(0, 6, 1, 5)),
    Layer(kernel=(1, 16), strides=(1, 4), pads=(0, 0, 0, 0)),
    Layer(per_channel=False),
]


def weights(layer: Layer, seed: int = 3) -> np.ndarray:
    """Float32 weights ``(4, 3, kh, kw)`` that seven bits hold exactly once the deviations are in them."""
    numbers = np.random.default_rng(seed).integers(-63, 64, (4, 3, *layer.kernel)).astype(np.float64)
    numbers[:, 0, 0, 0] = 64
    steps = STEP * (np.array([1.0, 2.0, 0.5, 4.0]) if layer.per_channel else np.ones(4))
    return (numbers * steps[:, None, None, None] * DEVIATIONS[:, None, None]).astype(np.float32)


def network(layer: Layer, weight: np.ndarray, **changed: object) -> onnx.ModelProto:
    """Pixels normalised, the convolution, a ReLU, a second convolution whose weights are nothing, an average."""
    height, width = layer.size
    tensors = {
        "gain": (1 / DEVIATIONS).astype(np.float32).reshape(1, 3, 1, 1),
        "shift": np.broadcast_to((-MEANS / DEVIATIONS).astype(np.float32).reshape(1, 3, 1, 1), (1, 3, 1, width)),
        "w": weight,
        "b": np.array([3.0, -2.0, 0.5, 1.0], np.float32),
        "v": np.zeros((2, 4, 1, 1), np.float32),
    }
    node = helper.make_node
    options = {"strides": layer.strides, "pads": layer.pads, **changed}
    nodes = [
        node("Transpose", ["image"], ["p"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["p"], ["f"], name="cast", to=1),
        node("Mul", ["f", "gain"], ["m"], name="scale"),
        node("Add", ["m", "shift"], ["x"], name="move"),
        node("Conv", ["x", "w", "b"], ["c"], name="first", **options),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Conv", ["r", "v"], ["d"], name="second"),
        node("GlobalAveragePool", ["d"], ["y"], name="mean"),
    ]
    info = helper.make_tensor_value_info
    image = info("image", onnx.TensorProto.UINT8, ["N", height, width, 3])
    made = helper.make_graph(nodes, "g", [image], [info("y", 1, ["N", 2, 1, 1])],
                             [numpy_helper.from_array(v, k) for k, v in tensors.items()])  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    return inferred


def wrapped(model: onnx.ModelProto, high: float, layer: Layer = LAYERS[0], target: str = "x86") -> onnx.ModelProto:
    ranges = {**dict.fromkeys(qdq.activations(model), (-1.0, 1.0)), "x": (-4.0, 5.0)}
    ranges |= dict.fromkeys(("c", "r"), (0.0, high))
    return qdq.wrap(model, QuantizationPlan("d", target, "minmax", layer.per_channel, ranges))


def first_of(model: onnx.ModelProto, pixels: np.ndarray, optimised: bool) -> np.ndarray:
    """What the second convolution reads."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    second = next(n for n in seen.graph.node if n.name == "second")
    seen.graph.output.append(helper.make_tensor_value_info(second.input[0], 1, None))
    return np.asarray(open_session(seen.SerializeToString(), optimised=optimised).run(None, {"image": pixels})[1])


def computed(layer: Layer, weight: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The convolution and its ReLU in float64."""
    x = torch.from_numpy(((pixels - MEANS) / DEVIATIONS).transpose(0, 3, 1, 2))
    top, left, bottom, right = layer.pads
    x = functional.pad(x, (left, right, top, bottom))
    bias = torch.tensor([3.0, -2.0, 0.5, 1.0], dtype=torch.float64)
    return functional.conv2d(x, torch.from_numpy(weight).double(), bias, layer.strides).relu().numpy()


def pixels_for(layer: Layer, count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, *layer.size, 3), dtype=np.uint8)


@pytest.mark.parametrize("optimised", [True, False])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_blocks_give_what_the_convolution_gives(layer: Layer, optimised: bool) -> None:
    weight, pixels = weights(layer), pixels_for(layer)
    wanted = computed(layer, weight, pixels)
    high = float(wanted.max())
    model = network(layer, weight)
    before = wrapped(model, high, layer)
    content = before.SerializeToString()
    made = in_blocks(before, model)
    onnx.checker.check_model(made, full_check=True)
    assert before.SerializeToString() == content
    assert not {"Cast", "Mul", "Add"} & {n.op_type for n in made.graph.node}
    found = first_of(made, pixels, optimised)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 0.501 * high / 255  # half a step; the pixels themselves lose nothing


def test_onnx_runtime_computes_them_with_8_bit_kernels_and_turns_nothing(tmp_path: Path) -> None:
    layer = Layer(strides=(1, 1))
    model = network(layer, weights(layer))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    made = in_blocks(wrapped(model, 9.0), model)
    onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    at = kinds.index("QLinearConv")
    assert kinds[at : at + 3] == ["QLinearConv", "Reshape", "QLinearConv"] and "Transpose" not in kinds[:at]


def test_of_a_grey_picture_rounding_costs_half_a_step_of_the_weights() -> None:
    layer, rng = Layer(), np.random.default_rng(8)
    weight = rng.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32)
    away = rng.integers(-104, 132, 8)  # from the mean, in all three channels alike
    grey = np.broadcast_to((away[:, None, None, None] + MEANS).astype(np.uint8), (8, *layer.size, 3)).copy()
    wanted = computed(layer, weight, grey)
    high = float(wanted.max())
    model = network(layer, weight)
    found = first_of(in_blocks(wrapped(model, high), model), grey, optimised=False)
    step = np.abs(weight / DEVIATIONS[:, None, None]).max((1, 2, 3)) / 64
    allowed = 0.5 * step * np.abs(away)[:, None] + 0.5 * step + 0.501 * high / 255  # of weights, bias and output
    assert (np.abs(found - wanted)[:, :, 1:, 1:].max((2, 3)) <= allowed).all()  # the borders see some of the weights


def test_a_channel_without_weights_keeps_its_bias() -> None:
    layer = Layer()
    weight = weights(layer)
    weight[1] = 0
    weight[2] *= np.float32(1e-12)  # as a dead BatchNorm leaves it
    model = network(layer, weight)
    wanted = computed(layer, weight, pixels_for(layer))
    high = float(wanted.max())
    found = first_of(in_blocks(wrapped(model, high), model), pixels_for(layer), optimised=True)
    assert np.abs(found - wanted).max() <= 0.501 * high / 255


@pytest.mark.parametrize("moved", [300.0, -200.0])
def test_a_mean_that_no_pixel_has_leaves_the_layer_as_it_is(moved: float) -> None:
    layer = Layer()
    model = network(layer, weights(layer))
    shift = next(t for t in model.graph.initializer if t.name == "shift")
    value = numpy_helper.to_array(shift) + np.float32(moved / 32) * (np.arange(3) == 1).reshape(1, 3, 1, 1)
    shift.CopyFrom(numpy_helper.from_array(value.astype(np.float32), "shift"))
    made = wrapped(model, 9.0)
    assert in_blocks(made, model) is made


@pytest.mark.parametrize("change", [{"dilations": [2, 2]}, {"strides": [3, 3]}, {"auto_pad": "SAME_UPPER"}])
def test_another_convolution_stays_as_it_is(change: dict[str, object]) -> None:
    layer = Layer(pads=(0, 0, 0, 0))
    model = network(layer, weights(layer), **({"pads": None} if "auto_pad" in change else {}), **change)
    made = wrapped(model, 9.0)
    assert in_blocks(made, model) is made


@pytest.mark.parametrize(("size", "target"), [((10, 18), "x86"), ((10, 16), "arm64")])
def test_rows_that_blocks_do_not_divide_and_signed_activations_stay(size: tuple[int, int], target: str) -> None:
    layer = Layer(size=size)
    model = network(layer, weights(layer))
    made = wrapped(model, 9.0, target=target)
    assert in_blocks(made, model) is made


@pytest.mark.parametrize("seen", ["p", "x"])
def test_pixels_that_something_else_reads_stay(seen: str) -> None:
    layer = Layer()
    model = network(layer, weights(layer))
    kind = onnx.TensorProto.UINT8 if seen == "p" else onnx.TensorProto.FLOAT
    model.graph.node.append(helper.make_node("Identity", [seen], ["also"], name="also"))
    model.graph.output.append(helper.make_tensor_value_info("also", kind, ["N", 3, *layer.size]))
    made = wrapped(model, 9.0)
    assert in_blocks(made, model) is made


@pytest.mark.parametrize("number", [np.arange(16.0).reshape(1, 1, 1, 16), np.arange(3.0).reshape(3, 1, 1, 1)])
def test_normalising_that_differs_from_pixel_to_pixel_is_left(number: np.ndarray) -> None:
    assert blocks.per_channel(number) is None
    assert blocks.per_channel(None) is None


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (1, 3, 1, 16), (16,)])
def test_normalising_by_channels_is_read_in_every_shape(shape: Sequence[int]) -> None:
    three = np.array([2.0, 3.0, 4.0]).reshape(3, 1, 1)
    by_channel = np.broadcast_to(three, shape) if 3 in shape else np.full(shape, 2.0)
    wanted = [2.0, 3.0, 4.0] if 3 in shape else [2.0] * 3
    found = blocks.per_channel(by_channel)
    assert found is not None and found.tolist() == wanted
