"""The float32 graph with QuantizeLinear and DequantizeLinear put in; no data, no runtime.

Between the first and the last layer with weights everything that ONNX Runtime can compute in 8 bits is wrapped; what
it cannot is left in float32 between the two, unless it is a gate that can be written in another way (``gates``).
Preprocessing stays float32, and both outputs are the float32 values before any rounding to 8 bits. Layers that a plan
leaves in float32 are taken out of their wraps again, together with whatever only follows them.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from edgexfer.errors import QuantizationError
from edgexfer.export import graph
from edgexfer.export.blocks import in_blocks
from edgexfer.export.float_layers import leave_in_float
from edgexfer.export.gates import in_8_bits
from edgexfer.export.held import WEIGHTED, before_layers, hold_outputs, release_outputs
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.rounding import balance
from edgexfer.onnxruntime_import import import_onnxruntime

MOVING = ("Concat", "Flatten", "MaxPool", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
COMPUTING = ("Add", "AveragePool", "Clip", "GlobalAveragePool", "LeakyRelu", "Mul", "Relu", "Sigmoid")
QUANTIZED = (*WEIGHTED, *COMPUTING, *MOVING)
Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of each activation."""


def activations(model: onnx.ModelProto) -> list[str]:
    """Names of the float values whose range must be known, in the order of the graph."""
    held = hold_outputs(model)
    weights = {t.name for t in held.graph.initializer}
    left = set(_left_in_float(held))
    floats = _float_values(held)
    names: dict[str, None] = {}
    for node in held.graph.node:
        if node.op_type in QUANTIZED and node.name not in left:
            names.update(dict.fromkeys(n for n in (*node.input, *node.output) if n in floats and n not in weights))
    return list(names)


def quantize(model: onnx.ModelProto, plan: QuantizationPlan) -> onnx.ModelProto:
    """The int8 model that a plan describes, without metadata; ``model`` is not changed.

    Raises:
        QuantizationError: The plan does not fit the model, or nothing can be quantized.
    """
    return completed(wrap(model, plan), model, plan.float_layers)


def completed(wrapped: onnx.ModelProto, model: onnx.ModelProto, float_layers: Sequence[str]) -> onnx.ModelProto:
    """The int8 model of what ``wrap`` made of ``model``: some layers in float32, gates in 8 bits, pixels in blocks.

    Raises:
        QuantizationError: There is no layer of one of these names.
    """
    return in_blocks(in_8_bits(leave_in_float(wrapped, model, float_layers)), model)


def wrap(model: onnx.ModelProto, plan: QuantizationPlan) -> onnx.ModelProto:
    """The model with everything in wraps that 8 bits can compute, whatever the plan leaves in float32.

    Raises:
        QuantizationError: The plan does not fit the model, or nothing can be quantized.
    """
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod, QuantType, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    missing = [name for name in activations(model) if name not in plan.ranges]
    if missing:
        raise QuantizationError(
            f"the plan knows no range of {missing[0]!r} and {len(missing) - 1} others; make it anew"
        )
    held = hold_outputs(model)
    ranges = {n: (np.float32(low), np.float32(high)) for n, (low, high) in _joined(held, plan.ranges).items()}
    with quiet():
        quantizer = QDQQuantizer(
            held,
            plan.per_channel,
            plan.reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8 if plan.target == "x86" else QuantType.QInt8,
            TensorsData(CalibrationMethod.MinMax, ranges),
            [],
            _left_in_float(held),
            list(QUANTIZED),
            {"ActivationSymmetric": plan.symmetric, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        made = quantizer.model.model
    finished = release_outputs(made)
    finished.ir_version = model.ir_version
    del finished.opset_import[:]
    finished.opset_import.add(domain="", version=model.opset_import[0].version)
    del finished.metadata_props[:]
    del finished.graph.value_info[:]
    graph.strip(finished)
    if plan.balanced:
        balance(finished, model, plan.largest_weight)
    if not any(n.op_type == "QuantizeLinear" for n in finished.graph.node):
        raise QuantizationError("this network has no layer that can be quantized; use the float32 file")
    graph.check_written(finished, model.opset_import[0].version, model.ir_version)
    return finished


def float_islands(model: onnx.ModelProto) -> dict[str, int]:
    """Operators of an int8 model that compute in float32 between 8-bit layers, with their number."""
    return dict(Counter(node.op_type for node in island_nodes(model)))


def island_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of an int8 model that compute in float32 between 8-bit layers.

    Preprocessing before the first and pooling after the last quantized layer are not islands.
    """
    nodes = list(model.graph.node)
    tail = _feeding(nodes, {o.name for o in model.graph.output}, stop=("DequantizeLinear",))
    rounded = _following(nodes, "DequantizeLinear")
    quantized = (*QUANTIZED, "QuantizeLinear", "DequantizeLinear", "Identity")
    return [n for i, n in enumerate(nodes) if i in rounded - tail and n.op_type not in quantized]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the quantizer's prints and its log lines."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _joined(model: onnx.ModelProto, ranges: Ranges) -> Ranges:
    """The ranges, where what is read by a Concat alone has that of the Concat's output.

    It will be rounded so anyway; rounded so at once it is rounded only once, and the Concat has nothing to compute.
    """
    joined = dict(ranges)
    readers = Counter(name for node in model.graph.node for name in node.input)
    for node in reversed(model.graph.node):
        if node.op_type == "Concat" and node.output[0] in joined:
            joined.update(
                (name, joined[node.output[0]]) for name in node.input if name in joined and readers[name] == 1
            )
    return joined


def _left_in_float(model: onnx.ModelProto) -> list[str]:
    """Nodes that stay as they are: everything before the first layer with weights, and the last pooling."""
    return before_layers(model) + _last_pooling(model)


def _last_pooling(model: onnx.ModelProto) -> list[str]:
    """What is averaged for an output and not for another layer, so that the output is not rounded to 8 bits."""
    found, wanted = [], {o.name for o in model.graph.output}
    for node in reversed(model.graph.node):
        if not wanted & set(node.output):
            continue
        if node.op_type == "GlobalAveragePool":
            found.append(node.name)
        elif node.op_type in (*MOVING, "Identity"):
            wanted.update(node.input[:1])
    return found


def _float_values(model: onnx.ModelProto) -> set[str]:
    values = (*model.graph.value_info, *model.graph.output, *model.graph.input)
    return {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}


def _feeding(nodes: Sequence[onnx.NodeProto], names: set[str], stop: tuple[str, ...]) -> set[int]:
    """Places of the nodes between ``names`` and the next nodes of kind ``stop`` above them."""
    found, wanted = set(), set(names)
    for index, node in reversed(list(enumerate(nodes))):
        if node.op_type not in stop and any(o in wanted for o in node.output):
            found.add(index)
            wanted.update(name for name in node.input if name)
    return found


def _following(nodes: Sequence[onnx.NodeProto], kind: str) -> set[int]:
    """Places of the nodes that are fed, at any distance, by nodes of one kind."""
    found, reached = set(), set[str]()
    for index, node in enumerate(nodes):
        if reached.intersection(node.input):
            found.add(index)
        if index in found or node.op_type == kind:
            reached.update(name for name in node.output if name)
    return found
