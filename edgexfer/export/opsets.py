"""An older opset, for a runtime that does not read opset 18 yet; exact, or refused with the operator that forbids it.

An operator whose definition did not change between the two stays as it is. Of those that changed, the ones below mean
the same on the float tensors of a classifier (new types, or new attributes that say what was always so), or are written
in the older way, LayerNormalization in the steps that it is made of; every other one is refused. The file is checked
against the older definitions and compared with PyTorch afterwards like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.errors import ExportError
from edgexfer.export.targets import Form, oldest_runtime
from edgexfer.fold.onnxfile.shapes import infer_in_place, keep, put
from edgexfer.fold.onnxfile.view import View, attribute, input_of

SAME_MEANING = frozenset(
    "Add Sub Mul Div Pow Relu LeakyRelu PRelu Where Identity BatchNormalization Reshape Pad Resize ScatterND".split()
)
REDUCTIONS = frozenset(f"Reduce{kind}" for kind in "L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split())
SIXTH = 1 / 6
WHOLE = 2**63 - 1
"""The end of a shape, however long it is."""


def lower(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """A copy of a model in an older form, with the same answers.

    Raises:
        ExportError: An operator of the network has no older form.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.ir_version = form.ir_version
    if made.opset_import[0].version <= form.opset:
        return made
    infer_in_place(made)  # the type of each value is what a CastLike has to be told
    view = View(made)
    nodes = [n for index in range(len(view.nodes)) for n in _lowered(view, index, form)]
    read = {name for node in nodes for name in node.input}
    put(made.graph.node, nodes)
    keep(made.graph.initializer, lambda tensor: tensor.name in read)
    del made.opset_import[:]
    made.opset_import.add(domain="", version=form.opset)
    return made


def _lowered(view: View, index: int, form: Form) -> Iterator[onnx.NodeProto]:
    node = view.nodes[index]
    kind = node.op_type
    if _version(kind, view.opset) == _version(kind, form.opset):
        yield node
    elif kind == "Shape":
        yield from _shape_slice(node)
    elif kind == "LayerNormalization":
        yield from _layer_norm(view, index, form)
    elif kind == "CastLike":
        yield _cast(view, index, form)
    elif kind in SAME_MEANING:
        yield _plainer(view, index, form)
    elif kind in REDUCTIONS:
        yield _reduction(view, index, form)
    elif kind == "Split":
        yield _split(view, index, form)
    elif kind == "HardSwish":
        yield from hard_swish(node)
    else:
        raise _too_new(view, index, form)


def hard_swish(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """A HardSwish as the two operators that it is made of; ONNX Runtime computes it so in any opset."""
    gate = f"{node.output[0]}_gate"
    yield helper.make_node("HardSigmoid", [node.input[0]], [gate], name=f"{node.name}_gate", alpha=SIXTH, beta=0.5)
    yield helper.make_node("Mul", [node.input[0], gate], list(node.output), name=node.name)


def _shape_slice(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """A part of a shape is cut out of the whole; before opset 15, Shape gave nothing else."""
    start, end = (int(attribute(node, name, usual)) for name, usual in (("start", 0), ("end", WHOLE)))
    if start == 0 and end == WHOLE:
        yield helper.make_node("Shape", [node.input[0]], list(node.output), name=node.name)
        return
    whole, first, last = (f"{node.output[0]}_{part}" for part in ("whole", "first", "last"))
    yield helper.make_node("Shape", [node.input[0]], [whole], name=f"{node.name}_whole")
    yield _constant(first, np.array([start], np.int64))
    yield _constant(last, np.array([end], np.int64))
    yield helper.make_node("Slice", [whole, first, last], list(node.output), name=node.name)


def _layer_norm(view: View, index: int, form: Form) -> Iterator[onnx.NodeProto]:
    """LayerNormalization in the steps of its definition, y = (x - mean) / sqrt(variance + eps) * scale + bias.

    They stand as older runtimes look for them, to compute all at once what opset 17 gave a name.
    """
    node = view.nodes[index]
    axis, rank = int(attribute(node, "axis", -1)), view.ranks.get(node.input[0])
    if len([name for name in node.output if name]) != 1 or attribute(node, "stash_type", 1) != 1:
        raise _too_new(view, index, form)
    if axis >= 0 and rank is None:
        raise _too_new(view, index, form)
    axes = list(range(axis if axis < 0 else axis - (rank or 0), 0))
    x, scale, bias, result = node.input[0], node.input[1], input_of(node, 2), node.output[0]

    def step(kind: str, inputs: list[str], part: str, **attributes: Any) -> onnx.NodeProto:
        output = f"{result}_{part}" if part else result
        return helper.make_node(kind, inputs, [output], name=f"{view.labels[index]}_{part or kind}", **attributes)

    epsilon = np.array(attribute(node, "epsilon", 1e-5), np.float32)
    yield _constant(f"{result}_epsilon", epsilon)
    yield _constant(f"{result}_two", np.array(2, np.float32))
    yield step("ReduceMean", [x], "mean", axes=axes, keepdims=1)
    yield step("Sub", [x, f"{result}_mean"], "centred")
    yield step("Pow", [f"{result}_centred", f"{result}_two"], "squared")
    yield step("ReduceMean", [f"{result}_squared"], "variance", axes=axes, keepdims=1)
    yield step("Add", [f"{result}_variance", f"{result}_epsilon"], "above_zero")
    yield step("Sqrt", [f"{result}_above_zero"], "deviation")
    yield step("Div", [f"{result}_centred", f"{result}_deviation"], "normalised")
    yield step("Mul", [f"{result}_normalised", scale], "scaled" if bias else "")
    if bias:
        yield step("Add", [f"{result}_scaled", bias], "")


def _cast(view: View, index: int, form: Form) -> onnx.NodeProto:
    """Before opset 15 the type had to be said."""
    node = view.nodes[index]
    known = {t.name: t.data_type for t in view.model.graph.initializer}
    known |= {v.name: v.type.tensor_type.elem_type for v in (*view.model.graph.value_info, *view.model.graph.input)}
    if not known.get(node.input[1]):
        raise _too_new(view, index, form)
    return helper.make_node("Cast", [node.input[0]], list(node.output), name=node.name, to=known[node.input[1]])


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(value))


def _plainer(view: View, index: int, form: Form) -> onnx.NodeProto:
    """The node without the attributes that the older definition does not know, where they say what was always so."""
    node: onnx.NodeProto = view.nodes[index]
    older = onnx.defs.get_schema(node.op_type, form.opset, "")
    kept = [a for a in node.attribute if a.name in older.attributes]
    new = [a for a in node.attribute if a.name not in older.attributes]
    if len(node.input) > older.max_input or not all(_says_nothing(view, node, entry) for entry in new):
        raise _too_new(view, index, form)
    del node.attribute[:]
    node.attribute.extend(kept)
    return node


def _says_nothing(view: View, node: onnx.NodeProto, entry: onnx.AttributeProto) -> bool:
    """Whether an attribute has its default value, or decides what a 0 means in a shape that holds none."""
    usual = onnx.defs.get_schema(node.op_type, view.opset, "").attributes[entry.name].default_value
    if usual.type and helper.get_attribute_value(entry) == helper.get_attribute_value(usual):
        return True
    shape = view.tensor(input_of(node, 1)) if entry.name == "allowzero" else None
    return shape is not None and bool(numpy_helper.to_array(shape).all())


def _reduction(view: View, index: int, form: Form) -> onnx.NodeProto:
    """Axes were an attribute before opset 18."""
    node = view.nodes[index]
    axes = view.tensor(input_of(node, 1)) if input_of(node, 1) else None
    if (input_of(node, 1) and axes is None) or attribute(node, "noop_with_empty_axes", 0):
        raise _too_new(view, index, form)
    given: dict[str, Any] = {} if axes is None else {"axes": numpy_helper.to_array(axes).reshape(-1).tolist()}
    keep = int(attribute(node, "keepdims", 1))
    return helper.make_node(node.op_type, [node.input[0]], list(node.output), name=node.name, keepdims=keep, **given)


def _split(view: View, index: int, form: Form) -> onnx.NodeProto:
    """Opset 18 splits into ``num_outputs`` parts; before, the sizes had to be said unless they are equal."""
    node = view.nodes[index]
    if not input_of(node, 1):
        shape = _shape(view, node.input[0])
        axis = int(attribute(node, "axis", 0))
        if shape is None or shape[axis] % len(node.output):
            raise _too_new(view, index, form)
    axis = int(attribute(node, "axis", 0))
    return helper.make_node("Split", [n for n in node.input if n], list(node.output), name=node.name, axis=axis)


def _shape(view: View, name: str) -> list[int] | None:
    values = {v.name: v for v in (*view.model.graph.value_info, *view.model.graph.input)}
    if name not in values:
        return None
    return [d.dim_value for d in values[name].type.tensor_type.shape.dim]


def _version(kind: str, opset: int) -> int | None:
    try:
        return int(onnx.defs.get_schema(kind, opset, "").since_version)
    except onnx.defs.SchemaError:
        return None


def _too_new(view: View, index: int, form: Form) -> ExportError:
    return ExportError(
        f"the operator {view.called(index)} of this network has no form in opset {form.opset}; export it for ONNX"
        f" Runtime {oldest_runtime(Form())} or newer (--runtime-version)"
    )
