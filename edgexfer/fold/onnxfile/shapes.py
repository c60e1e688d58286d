"""Shape inference that leaves the weights where they are, and the parts of a graph replaced without copying those."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import onnx

SMALL = 1024
"""Elements of the largest constant that can be a shape; the larger ones are weights."""


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose weights have a type and a shape but no values, for shape inference.

    ONNX hands the whole model over as bytes and back, which takes seconds for a large network; of weights it needs no
    more than this.
    """
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    for field, value in model.graph.ListFields():
        if field.name == "initializer":
            bare.graph.initializer.extend(_without_values(tensor) for tensor in value)
        elif isinstance(value, str):
            setattr(bare.graph, field.name, value)
        else:
            getattr(bare.graph, field.name).extend(value)
    return bare


def inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """The main graph with the shapes that ONNX infers, its weights without their values.

    Raises:
        Exception: The model is too odd for it; what is raised depends on what is odd.
    """
    found: onnx.GraphProto = onnx.shape_inference.infer_shapes(without_weights(model)).graph
    return found


def infer_in_place(model: onnx.ModelProto) -> None:
    """Writes the inferred shapes of the main graph's values and outputs into the model."""
    found = inferred(model)
    for field in ("value_info", "output"):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(getattr(found, field))


def put(entries: Any, wanted: Iterable[Any]) -> None:
    """Makes ``wanted`` the content of a repeated field; what was taken from the field itself may be among it."""
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in wanted]
    del entries[:]
    entries.extend(copies)


def keep(entries: Any, wanted: Callable[[Any], bool]) -> None:
    """Removes from a repeated field what is not ``wanted``; what stays is not copied."""
    for index in reversed(range(len(entries))):
        if not wanted(entries[index]):
            del entries[index]


def replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Puts ``nodes`` in place of the graph's own; shapes are inferred anew, unread constants dropped."""
    read = {name for node in nodes for name in node.input} | {o.name for o in model.graph.output}
    put(model.graph.node, nodes)
    keep(model.graph.initializer, lambda tensor: tensor.name in read)
    model.graph.ClearField("value_info")
    infer_in_place(model)


def _without_values(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if math.prod(tensor.dims) <= SMALL:
        return tensor
    return onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
