"""What is in an ONNX file: operators, layers with their cost, BatchNorms with their statistics; no torch.

A BatchNorm scales a channel by ``s = gamma / sqrt(var + eps)``. A channel is *dead* where gamma is next to nothing, or
its input never moved (variance next to nothing): what follows learns nothing from it. A scale is *exploding* above
``EXPLODING``: it amplifies rounding as much as the signal. Against pictures, *drift* is how far the mean of what comes
in now is from the running mean, in running standard deviations, and the *spread* is the ratio of the variances: a
BatchNorm that saw other pictures in training, or too few, shows here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from edgexfer.errors import ExportError
from edgexfer.export.qdq import float_islands
from edgexfer.export.runtime import open_session
from edgexfer.fold.onnxfile import source
from edgexfer.fold.onnxfile.float64 import limited_memory
from edgexfer.fold.onnxfile.layers import BATCHNORM, No, read_batchnorm
from edgexfer.fold.onnxfile.shapes import without_weights
from edgexfer.fold.onnxfile.view import View, attribute, input_of

if TYPE_CHECKING:
    import onnxruntime

DEAD = 1e-3
STILL = 1e-10
EXPLODING = 100.0
DRIFTED = 0.5
SPREAD = 2.0


@dataclass(frozen=True)
class LayerCost:
    """One layer with weights, at batch size 1.

    Attributes:
        name: The node.
        kind: Its operator.
        output_shape: ``None`` for a dimension that the file leaves open.
        parameters: Numbers in its constants.
        weight_bytes: What they take in the file.
        multiply_adds: Of one picture; ``None`` where the shape is open.
        output_bytes: Of one picture; ``None`` where the shape is open.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    weight_bytes: int
    multiply_adds: int | None
    output_bytes: int | None


@dataclass(frozen=True)
class BatchNormState:
    """One BatchNorm.

    Attributes:
        name: The node.
        channels: How many.
        largest_scale: Largest ``|s|``.
        dead: Channels that are.
        exploding: Channels whose scale is.
        drift: Largest drift of a channel; ``None`` without pictures.
        spread: Largest ratio of the variances, now to running or the other way; ``None`` without pictures.
        remark: What is wrong, in a few words; empty if nothing is.
    """

    name: str
    channels: int
    largest_scale: float
    dead: int
    exploding: int
    drift: float | None
    spread: float | None
    remark: str


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        opset: Version of the standard operators.
        ir_version: Version of the file format.
        size_bytes: Of the model.
        operators: How many of each kind.
        layers: Layers with weights, in order.
        batchnorms: In order.
        islands: Of an int8 file, operators that compute in float32 between 8-bit layers.
        images: Pictures that the BatchNorms were compared on.
    """

    opset: int
    ir_version: int
    size_bytes: int
    operators: dict[str, int]
    layers: tuple[LayerCost, ...]
    batchnorms: tuple[BatchNormState, ...]
    islands: dict[str, int]
    images: int


def inspect_model(model: onnx.ModelProto, feeds: Iterable[np.ndarray] = ()) -> Inspection:
    """Looks into a model.

    Args:
        model: As ``source.read_onnx`` reads it.
        feeds: Batches of its first input, to compare the BatchNorms with.

    Raises:
        ExportError: The runtime cannot run it on them.
    """
    view = View(model)
    names = [i for i in range(len(view.nodes)) if view.is_a(i, BATCHNORM)]
    moments, images = _moments(model, [view.nodes[i].input[0] for i in names], feeds) if names else ({}, 0)
    states = [_state(view, i, moments.get(view.nodes[i].input[0])) for i in names]
    quantized = any(node.op_type == "DequantizeLinear" for node in view.nodes)
    return Inspection(
        view.opset,
        model.ir_version,
        model.ByteSize(),
        dict(sorted(Counter(n.op_type for n in source.nodes(model)).items(), key=lambda kv: (-kv[1], kv[0]))),
        tuple(_layers(model, view)),
        tuple(s for s in states if s is not None),
        float_islands(model) if quantized else {},
        images,
    )


def _layers(model: onnx.ModelProto, view: View) -> Iterable[LayerCost]:
    single = without_weights(model)
    held = {t.name for t in model.graph.initializer}
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in held and dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    single.graph.ClearField("value_info")
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(single).graph
    except Exception:  # a model too large or too odd for it: the shapes stay unknown
        inferred = single.graph
    shapes = {
        v.name: tuple(d.dim_value or None for d in v.type.tensor_type.shape.dim)
        for v in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    for index, node in enumerate(view.nodes):
        weights = [t for t in (_constant(view, name) for name in node.input[1:]) if t is not None]
        if not view.is_a(index, "Conv", "ConvTranspose", "Gemm", "MatMul", BATCHNORM) or not weights:
            continue
        shape = shapes.get(node.output[0], ())
        elements = None if None in shape or not shape else int(np.prod([d or 0 for d in shape]))
        yield LayerCost(
            _title(view, index),
            node.op_type,
            shape,
            sum(int(np.prod(t.dims)) for t in weights),
            sum(len(t.raw_data) or 4 * int(np.prod(t.dims)) for t in weights),
            _multiply_adds(view, index, weights[0], elements, shapes),
            None if elements is None else 4 * elements,
        )


def _title(view: View, index: int) -> str:
    """The layer's path in its network, where the exporter named only its tensors by it; else the node's name."""
    node = view.nodes[index]
    path = input_of(node, 1).removesuffix(".weight").removeprefix("net.")
    own = node.name.startswith("node_") and input_of(node, 1).endswith(".weight")
    return path if own else view.labels[index]


def _constant(view: View, name: str) -> onnx.TensorProto | None:
    """A constant, through the DequantizeLinear that wraps it in an int8 file."""
    found = view.tensor(name) if name else None
    above = view.producer.get(name)
    if found is None and above is not None and view.is_a(above, "DequantizeLinear"):
        return view.tensor(view.nodes[above].input[0])
    return found


def _multiply_adds(
    view: View,
    index: int,
    weight: onnx.TensorProto,
    elements: int | None,
    shapes: dict[str, tuple[int | None, ...]],
) -> int | None:
    node, dims = view.nodes[index], list(weight.dims)
    if node.op_type == BATCHNORM:
        return elements
    if node.op_type == "ConvTranspose":
        given = shapes.get(node.input[0], ())
        return None if None in given or not given else int(np.prod([d or 0 for d in given])) * int(np.prod(dims[1:]))
    if elements is None or len(dims) < 2:
        return None
    if node.op_type == "Conv":
        return elements * int(np.prod(dims[1:]))
    return elements * int(dims[1] if attribute(node, "transB", 0) else dims[-2])


def _moments(
    model: onnx.ModelProto, names: list[str], feeds: Iterable[np.ndarray]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """Mean and variance of each channel of each value over all pictures and pixels, and how many pictures."""
    seen: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}
    own = model.graph.input[0].name
    inner = [name for name in dict.fromkeys(names) if name != own]
    session, images = None, 0
    for batch in feeds:
        try:
            with limited_memory():
                session = _showing(model, inner) if session is None else session
                values = session.run(inner, {own: batch}) if inner else []
        except ExportError:
            raise
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise ExportError(f"the model does not run on these pictures: {error}") from error
        images += len(batch)
        for name, value in [(own, batch)] * (own in names) + list(zip(inner, values, strict=True)):
            seen[name] = _merged(seen.get(name), value.astype(np.float64))
    return {name: (mean, squares / count) for name, (count, mean, squares) in seen.items()}, images


def _showing(model: onnx.ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    """A session whose outputs are, besides its own, the values of these names."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    present = {o.name for o in shown.graph.output}
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in present)
    return open_session(shown.SerializeToString(), optimised=False)


def _merged(before: tuple[int, np.ndarray, np.ndarray] | None, value: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean and sum of squared deviations with one more batch (Chan, Golub and LeVeque 1983)."""
    flat = value.reshape(len(value), value.shape[1], -1)
    count, mean = flat.shape[0] * flat.shape[2], flat.mean(axis=(0, 2))
    squares = ((flat - mean[None, :, None]) ** 2).sum(axis=(0, 2))
    if before is None:
        return count, mean, squares
    old, old_mean, old_squares = before
    apart, total = mean - old_mean, old + count
    return total, old_mean + apart * count / total, old_squares + squares + apart**2 * old * count / total


def _state(view: View, index: int, now: tuple[np.ndarray, np.ndarray] | None) -> BatchNormState | None:
    node = view.nodes[index]
    try:
        layer = read_batchnorm(view, index)
    except No as no:
        return BatchNormState(_title(view, index), 0, 0.0, 0, 0, None, None, str(no).removeprefix("it "))
    if not layer.channels:
        return BatchNormState(_title(view, index), 0, 0.0, 0, 0, None, None, "it has no channels")
    var = view.numbers(input_of(node, 4))
    scale = np.abs(layer.affine.scale)
    gamma = np.abs(layer.weight)
    still = np.zeros(0, bool) if var is None else var < STILL
    dead = int(((gamma <= DEAD * max(float(gamma.max()), 1e-30)) | still).sum())
    exploding = int((scale > EXPLODING).sum())
    drift = spread = None
    if now is not None and layer.mean is not None and layer.unit is not None:
        drift = float((np.abs(now[0] - layer.mean) * layer.unit).max())
        eps = float(attribute(node, "epsilon", 1e-5))
        ratio = (now[1] + eps) * layer.unit**2
        spread = float(np.maximum(ratio, 1 / np.maximum(ratio, 1e-30)).max())
    remarks = [f"{dead} dead" if dead else "", f"{exploding} exploding" if exploding else ""]
    remarks += ["the mean drifted" if drift is not None and drift > DRIFTED else ""]
    remarks += ["the variance changed" if spread is not None and spread > SPREAD else ""]
    told = ", ".join(r for r in remarks if r)
    largest = float(scale.max())
    return BatchNormState(_title(view, index), len(scale), largest, dead, exploding, drift, spread, told)
