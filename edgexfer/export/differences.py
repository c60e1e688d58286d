"""What differs between the file that is there and the one that should be: its form, tensors and nodes, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgexfer.export.figures import max_abs_error

MOST = 20


def differences(found: onnx.ModelProto, wanted: onnx.ModelProto) -> list[str]:
    """One sentence for whatever of ``found`` is not as in ``wanted``, ``MOST`` at most."""
    told = [*_form(found, wanted), *_tensors(found, wanted), *_nodes(found, wanted)]
    more = len(told) - MOST
    return told if more <= 0 else [*told[:MOST], f"and {more} more"]


def _form(found: onnx.ModelProto, wanted: onnx.ModelProto) -> Iterator[str]:
    mine, theirs = _parts(found), _parts(wanted)
    for what in theirs:
        if mine[what] != theirs[what]:
            yield f"{what}: {mine[what]}, expected {theirs[what]}"


def _parts(model: onnx.ModelProto) -> dict[str, Any]:
    """What surrounds the nodes and decides what they mean."""
    return {
        "inputs": [_typed(v) for v in model.graph.input],
        "outputs": [_typed(v) for v in model.graph.output],
        "opsets": sorted((o.domain or "ai.onnx", o.version) for o in model.opset_import),
        "IR version": model.ir_version,
        "local functions": sorted((f.domain, f.name) for f in model.functions),
        "sparse tensors": sorted(t.values.name for t in model.graph.sparse_initializer),
    }


def _typed(value: onnx.ValueInfoProto) -> tuple[Any, ...]:
    kind = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
    return value.name, value.type.WhichOneof("value"), kind.elem_type, sizes


def _tensors(found: onnx.ModelProto, wanted: onnx.ModelProto) -> Iterator[str]:
    mine = {t.name: t for t in found.graph.initializer}
    theirs = {t.name: t for t in wanted.graph.initializer}
    for name in sorted(theirs.keys() - mine.keys()):
        yield f"the tensor {name!r} is missing"
    for name in sorted(mine.keys() - theirs.keys()):
        yield f"the tensor {name!r} is not of this network"
    for name in sorted(mine.keys() & theirs.keys()):
        a, b = numpy_helper.to_array(mine[name]), numpy_helper.to_array(theirs[name])
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"the tensor {name!r} is {a.dtype} {a.shape}, it was {b.dtype} {b.shape}"
        elif a.tobytes() != b.tobytes():
            changed, largest = int((a != b).sum()), float(np.abs(b.astype(np.float64)).max(initial=0.0))
            yield (
                f"the tensor {name!r} changed: {changed} of {a.size} numbers, by up to {max_abs_error(a, b):.3g}"
                f" (largest number {largest:.3g})"
            )


def _nodes(found: onnx.ModelProto, wanted: onnx.ModelProto) -> Iterator[str]:
    mine, theirs = _by_name(found), _by_name(wanted)
    for name in sorted(theirs.keys() - mine.keys()):
        yield f"the node {name!r} ({theirs[name].op_type}) is missing"
    for name in sorted(mine.keys() - theirs.keys()):
        yield f"the node {name!r} ({mine[name].op_type}) is not of this network"
    for name in sorted(mine.keys() & theirs.keys()):
        if _canonical(mine[name]) != _canonical(theirs[name]):
            yield f"the node {name!r} ({mine[name].op_type}) has other inputs, outputs or attributes"


def _by_name(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The nodes by name; those without one, or with one that others have too, by their first output."""
    times = Counter(n.name for n in model.graph.node if n.name)
    return {n.name if times[n.name] == 1 else next((o for o in n.output if o), n.op_type): n for n in model.graph.node}


def _canonical(node: onnx.NodeProto) -> tuple[object, ...]:
    attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
    domain = "" if node.domain == "ai.onnx" else node.domain
    return domain, node.op_type, tuple(node.input), tuple(node.output), tuple(attributes)
