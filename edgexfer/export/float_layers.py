"""Layers of an int8 graph taken out of their wraps again, so that they compute in float32."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from edgexfer.errors import QuantizationError
from edgexfer.export import graph
from edgexfer.export.held import HELD, WEIGHTED, before_layers, drop_unread, hold_outputs, sort_nodes
from edgexfer.export.pooling import behind_pooling


def leave_in_float(wrapped: onnx.ModelProto, model: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """A copy of a wrapped model in which some layers, and what only follows them, compute in float32.

    Args:
        wrapped: What ``wrap`` made.
        model: The float32 model that it was made of.
        layers: Names of layers with weights.

    Raises:
        QuantizationError: There is no layer of that name.
    """
    if not layers:
        return wrapped
    held = hold_outputs(model)
    unknown = sorted(set(layers) - {n.name for n in held.graph.node if n.op_type in WEIGHTED})
    if unknown:
        raise QuantizationError(f"the plan leaves {unknown[0]!r} in float32, and no layer has that name; make it anew")
    free = _following(held, set(layers))
    made = _with_removed(wrapped, held, free)
    origin = {o: n.name for n in held.graph.node for o in n.output}
    constants = {t.name: t for t in held.graph.initializer}
    sources = {n.name: n for n in held.graph.node}
    added: dict[str, str] = {}
    outer = {HELD + o.name: o.name for o in made.graph.output}
    for node in made.graph.node:
        if node.name not in free:
            continue
        for place, name in enumerate(sources[node.name].input):
            if name in constants:
                if name not in added:
                    added[name] = f"{name}_float32"
                    made.graph.initializer.append(constants[name])
                    made.graph.initializer[-1].name = added[name]
                node.input[place] = added[name]
            elif origin.get(name) in free:
                node.input[place] = outer.get(name, name)
    drop_unread(made)
    sort_nodes(made)
    # ONNX Runtime moves a QuantizeLinear before max pooling, but not before a ReLU: without one in between, the pooling
    # of a float layer would be computed in 8 bits, in a layout for which it has no quick way
    behind_pooling(made, ["Relu", "Clip"], free)
    if not any(n.op_type == "QuantizeLinear" for n in made.graph.node):
        raise QuantizationError("the plan leaves every layer in float32; use the float32 file")
    graph.check_written(made, model.opset_import[0].version, model.ir_version)
    return made


def _with_removed(wrapped: onnx.ModelProto, held: onnx.ModelProto, free: set[str]) -> onnx.ModelProto:
    """A copy of the wrapped model that has again those ReLUs of ``free`` that 8-bit saturation made superfluous."""
    made = onnx.ModelProto()
    made.CopyFrom(wrapped)
    present = {n.name for n in made.graph.node}
    producers = {o: n for n in made.graph.node for o in n.output}
    for node in held.graph.node:
        if node.op_type in ("Relu", "Clip") and node.name in free - present:
            above = producers[node.output[0]]  # it gives the activation's output by name, and 8 bits cut it
            above.output[0] = node.input[0]
            made.graph.node.append(node)
    return made


def _following(model: onnx.ModelProto, layers: set[str]) -> set[str]:
    """The named layers, what stands before all layers, and every node that is fed by none but these."""
    free = set(before_layers(model)) | layers
    origin = {o: n.name for n in model.graph.node for o in n.output}
    for node in model.graph.node:
        above = {origin[i] for i in node.input if i in origin}
        if node.op_type not in WEIGHTED and above and above <= free:
            free.add(node.name)
    return free
