"""The float32 graph with QuantizeLinear and DequantizeLinear put in; no data, no runtime.

Between the first and the last layer with weights everything that ONNX Runtime can compute in 8 bits is wrapped; what
it cannot (HardSwish, the global pooling) is left in float32 between the two. Preprocessing stays float32, and both
outputs are the float32 values before any rounding to 8 bits.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

from edgexfer.errors import QuantizationError
from edgexfer.export import graph
from edgexfer.export.plan import QuantizationPlan
from edgexfer.onnxruntime_import import import_onnxruntime

WEIGHTED = ("Conv", "Gemm", "MatMul")
MOVING = ("Concat", "Flatten", "MaxPool", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
COMPUTING = ("Add", "AveragePool", "Clip", "LeakyRelu", "Mul", "Relu", "Sigmoid")
QUANTIZED = (*WEIGHTED, *COMPUTING, *MOVING)
_HELD = "edgexfer_held_"


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
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod, QuantType, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    missing = [name for name in activations(model) if name not in plan.ranges]
    if missing:
        raise QuantizationError(
            f"the plan knows no range of {missing[0]!r} and {len(missing) - 1} others; make it anew"
        )
    held = hold_outputs(model)
    ranges = {n: (np.float32(low), np.float32(high)) for n, (low, high) in plan.ranges.items()}
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
            {"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        made = quantizer.model.model
    finished = _release_outputs(made)
    finished.ir_version = graph.IR_VERSION
    del finished.opset_import[:]
    finished.opset_import.add(domain="", version=graph.OPSET)
    del finished.metadata_props[:]
    del finished.graph.value_info[:]
    graph.strip(finished)
    if not any(n.op_type == "QuantizeLinear" for n in finished.graph.node):
        raise QuantizationError("this network has no layer that can be quantized; use the float32 file")
    graph.check_written(finished)
    return finished


def float_islands(model: onnx.ModelProto) -> dict[str, int]:
    """Operators of an int8 model that compute in float32 between 8-bit layers, with their number.

    Preprocessing before the first and pooling after the last quantized layer are not islands.
    """
    produced_by = {o: n for n in model.graph.node for o in n.output}
    found: dict[str, int] = {}
    tail = _feeding(model, {o.name for o in model.graph.output}, stop=("DequantizeLinear",))
    for node in model.graph.node:
        if node.op_type in (*QUANTIZED, "QuantizeLinear", "DequantizeLinear", "Identity") or node.name in tail:
            continue
        if _depends_on(node, produced_by, "DequantizeLinear"):
            found[node.op_type] = found.get(node.op_type, 0) + 1
    return found


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


def hold_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each output is an Identity of an inner value, so that the quantizer can wrap that value."""
    held = onnx.ModelProto()
    held.CopyFrom(model)
    names = [o.name for o in held.graph.output]
    outputs = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in held.graph.output]
    graph.rename(held, {name: _HELD + name for name in names})
    held.graph.value_info.extend(held.graph.output)
    del held.graph.output[:]
    held.graph.output.extend(outputs)
    for name in names:
        held.graph.node.append(helper.make_node("Identity", [_HELD + name], [name], name=_HELD + name))
    for number, node in enumerate(held.graph.node):
        node.name = node.name or f"node_{number}"
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(held)
    return inferred


def _release_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gives the outputs back the values before rounding, and drops what nobody reads any more."""
    released = onnx.ModelProto()
    released.CopyFrom(model)
    holders = [n for n in released.graph.node if n.op_type == "Identity" and n.name.startswith(_HELD)]
    back = {n.name: n.output[0] for n in holders}
    others = [n for n in released.graph.node if n.name not in back]
    produced = {o for n in others for o in n.output}
    for holder in holders:
        if holder.name not in produced:
            raise QuantizationError(f"the quantizer lost the output {holder.output[0]!r}")
    del released.graph.node[:]
    released.graph.node.extend(others)
    graph.rename(released, back)
    _drop_unread(released)
    return released


def _drop_unread(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    while True:
        read = {o.name for o in model.graph.output} | {i for n in nodes for i in n.input}
        kept = [n for n in nodes if any(o in read for o in n.output)]
        if len(kept) == len(nodes):
            break
        nodes = kept
    kept_tensors = [t for t in model.graph.initializer if t.name in read]
    del model.graph.node[:]
    del model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept_tensors)


def _left_in_float(model: onnx.ModelProto) -> list[str]:
    """Nodes that stay as they are: everything before the first layer with weights."""
    seen: set[str] = set()
    left = []
    for node in model.graph.node:
        if node.op_type in WEIGHTED or any(i in seen for i in node.input):
            seen.update(node.output)
        else:
            left.append(node.name)
    return left


def _float_values(model: onnx.ModelProto) -> set[str]:
    values = (*model.graph.value_info, *model.graph.output, *model.graph.input)
    return {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}


def _feeding(model: onnx.ModelProto, names: set[str], stop: tuple[str, ...]) -> set[str]:
    """Names of the nodes between ``names`` and the next nodes of kind ``stop`` above them."""
    found, wanted = set(), set(names)
    for node in reversed(model.graph.node):
        if node.op_type not in stop and any(o in wanted for o in node.output):
            found.add(node.name)
            wanted.update(node.input)
    return found


def _depends_on(node: onnx.NodeProto, produced_by: dict[str, onnx.NodeProto], kind: str) -> bool:
    waiting, seen = [*node.input], set()
    while waiting:
        name = waiting.pop()
        above = produced_by.get(name)
        if above is None or name in seen:
            continue
        seen.add(name)
        if above.op_type == kind:
            return True
        waiting.extend(above.input)
    return False
