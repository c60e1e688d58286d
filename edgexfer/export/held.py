"""Small changes to a graph around quantization: outputs held as identities, layers found, nodes sorted."""

from __future__ import annotations

import onnx
from onnx import helper

from edgexfer.errors import QuantizationError
from edgexfer.export import graph
from edgexfer.fold.onnxfile.shapes import infer_in_place, keep, put

WEIGHTED = ("Conv", "Gemm", "MatMul")
HELD = "edgexfer_held_"


def weighted_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the layers with weights, in the order of the graph."""
    return [n.name for n in hold_outputs(model).graph.node if n.op_type in WEIGHTED]


def hold_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each output is an Identity of an inner value, so that the quantizer can wrap that value."""
    held = onnx.ModelProto()
    held.CopyFrom(model)
    names = [o.name for o in held.graph.output]
    outputs = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in held.graph.output]
    graph.rename(held, {name: HELD + name for name in names})
    held.graph.value_info.extend(held.graph.output)
    del held.graph.output[:]
    held.graph.output.extend(outputs)
    for name in names:
        held.graph.node.append(helper.make_node("Identity", [HELD + name], [name], name=HELD + name))
    for node, name in zip(held.graph.node, node_names(held), strict=True):
        node.name = name
    infer_in_place(held)
    return held


def node_names(model: onnx.ModelProto) -> list[str]:
    """The name of each node, one made up where the file gives none."""
    return [node.name or f"node_{number}" for number, node in enumerate(model.graph.node)]


def release_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gives the outputs back the values before rounding, and drops what nobody reads any more."""
    released = onnx.ModelProto()
    released.CopyFrom(model)
    holders = [n for n in released.graph.node if n.op_type == "Identity" and n.name.startswith(HELD)]
    back = {n.name: n.output[0] for n in holders}
    others = [n for n in released.graph.node if n.name not in back]
    produced = {o for n in others for o in n.output}
    for holder in holders:
        if holder.name not in produced:
            raise QuantizationError(f"the quantizer lost the output {holder.output[0]!r}")
    put(released.graph.node, others)
    graph.rename(released, back)
    drop_unread(released)
    return released


def drop_unread(model: onnx.ModelProto) -> None:
    """Removes nodes and constants that nothing reads, in place."""
    nodes = list(model.graph.node)
    while True:
        read = {o.name for o in model.graph.output} | {i for n in nodes for i in n.input}
        kept = [n for n in nodes if any(o in read for o in n.output)]
        if len(kept) == len(nodes):
            break
        nodes = kept
    put(model.graph.node, nodes)
    keep(model.graph.initializer, lambda tensor: tensor.name in read)


def before_layers(model: onnx.ModelProto) -> list[str]:
    """Everything before the first layer with weights."""
    seen: set[str] = set()
    left = []
    for node in model.graph.node:
        if node.op_type in WEIGHTED or any(i in seen for i in node.input):
            seen.update(node.output)
        else:
            left.append(node.name)
    return left


def sort_nodes(model: onnx.ModelProto) -> None:
    """Puts the nodes in an order in which each comes after what it reads; always the same one."""
    waiting = dict(enumerate(model.graph.node))
    made_by = {o: i for i, node in waiting.items() for o in node.output}
    done: dict[int, onnx.NodeProto] = {}
    stack = list(reversed(waiting))
    while stack:
        index = stack[-1]
        missing = [made_by[n] for n in waiting[index].input if n in made_by and made_by[n] not in done]
        if index not in done and missing:
            stack.extend(missing)
            continue
        stack.pop()
        done.setdefault(index, waiting[index])
    put(model.graph.node, done.values())
