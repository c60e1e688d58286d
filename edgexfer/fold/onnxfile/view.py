"""Who feeds whom in the main graph of an ONNX model, and which values are constants."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.fold.onnxfile import source
from edgexfer.fold.onnxfile.shapes import inferred

FLOATS: Mapping[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
    onnx.TensorProto.DOUBLE: np.dtype(np.float64),
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16),
}
STANDARD = ("", "ai.onnx")


class View:
    """The main graph of a model, indexed; nodes are known by their position.

    Attributes:
        nodes: The nodes of the main graph.
        labels: For each node its name, made up and made unique where the file gives none or one twice.
        opset: The version of the standard operators.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.labels = _labels(self.nodes)
        self.opset = max((o.version for o in model.opset_import if o.domain in STANDARD), default=0)
        self.outputs = {o.name for o in model.graph.output}
        self.producer: dict[str, int] = {o: i for i, n in enumerate(self.nodes) for o in n.output if o}
        self.users: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in reads(node):
                self.users.setdefault(name, []).append(index)
        self._tensors = {t.name: t for t in model.graph.initializer}
        self.replaceable: set[str] = set()
        if model.ir_version >= 4:  # before, every initializer had to be an input too, and runtimes take it as constant
            self.replaceable = {i.name for i in model.graph.input} & set(self._tensors)

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """The number of dimensions of each value, where shape inference tells."""
        return _ranks(self.model)

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The constant of that name: an initializer or what a Constant node holds, through identities."""
        for _ in range(len(self.nodes) + 1):
            if name in self._tensors:
                return None if name in self.replaceable else self._tensors[name]
            node = self.nodes[self.producer[name]] if name in self.producer else None
            if node is None or node.domain not in STANDARD:
                return None
            if node.op_type == "Constant":
                value = attribute(node, "value")
                return value if isinstance(value, onnx.TensorProto) else None
            if node.op_type != "Identity":
                return None
            name = node.input[0]
        return None

    def numbers(self, name: str) -> np.ndarray | None:
        """The float constant of that name in float64, or ``None``."""
        tensor = self.tensor(name)
        if tensor is None or tensor.data_type not in FLOATS:
            return None
        return widened(tensor)

    def is_a(self, index: int, *kinds: str) -> bool:
        """Whether a node is one of these standard operators."""
        return self.nodes[index].domain in STANDARD and self.nodes[index].op_type in kinds

    def called(self, index: int) -> str:
        """A node in words: ``'conv1' (Conv)``."""
        return f"{self.labels[index]!r} ({self.nodes[index].op_type})"


def widened(tensor: onnx.TensorProto) -> np.ndarray:
    """A floating-point tensor in float64."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        wide: np.ndarray = numpy_helper.to_array(tensor).astype(np.float64)
    return wide


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or ``default``."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def averages_channels(view: View, index: int) -> bool:
    """Whether a node gives the mean of each channel over all its pixels."""
    if view.is_a(index, "GlobalAveragePool"):
        return True
    node = view.nodes[index]
    rank = view.ranks.get(node.input[0], 0) if view.is_a(index, "ReduceMean") else 0
    if rank < 3:
        return False
    axes = attribute(node, "axes")
    given = view.tensor(input_of(node, 1)) if input_of(node, 1) else None
    if given is not None:
        axes = numpy_helper.to_array(given).reshape(-1).tolist()
    return axes is not None and sorted(axis % rank for axis in axes) == list(range(2, rank))


def input_of(node: onnx.NodeProto, position: int) -> str:
    """The name of a node's input; empty where it has none there."""
    return str(node.input[position]) if position < len(node.input) else ""


def reads(node: onnx.NodeProto) -> list[str]:
    """What a node reads, also from within graphs inside it; once for each time."""
    inner = [name for graph in source.inside(node) for n in graph.node for name in n.input]
    inner += [o.name for graph in source.inside(node) for o in graph.output]
    return [name for name in (*node.input, *inner) if name]


def _labels(nodes: list[onnx.NodeProto]) -> list[str]:
    used: set[str] = set()
    labels = []
    for index, node in enumerate(nodes):
        label = node.name or f"{node.op_type}_{index}"
        label = label if label not in used else f"{label}_{index}"
        used.add(label)
        labels.append(label)
    return labels


def _ranks(model: onnx.ModelProto) -> Mapping[str, int]:
    """The number of dimensions of each value, where shape inference tells."""
    try:
        graph = inferred(model)
    except Exception:  # a model too odd for it: the ranks stay unknown
        graph = model.graph
    return {
        v.name: len(v.type.tensor_type.shape.dim)
        for v in (*graph.value_info, *graph.input, *graph.output)
        if v.type.tensor_type.HasField("shape")
    }
