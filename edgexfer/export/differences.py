"""What differs between the file that is there and the one that should be: tensors and nodes, by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from edgexfer.export.figures import max_abs_error

MOST = 20


def differences(found: onnx.ModelProto, wanted: onnx.ModelProto) -> list[str]:
    """One sentence for each tensor and node of ``found`` that is not as in ``wanted``, ``MOST`` at most."""
    told = [*_tensors(found, wanted), *_nodes(found, wanted)]
    more = len(told) - MOST
    return told if more <= 0 else [*told[:MOST], f"and {more} more"]


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
    mine, theirs = ({n.name or n.output[0]: n for n in m.graph.node} for m in (found, wanted))
    for name in sorted(theirs.keys() - mine.keys()):
        yield f"the node {name!r} ({theirs[name].op_type}) is missing"
    for name in sorted(mine.keys() - theirs.keys()):
        yield f"the node {name!r} ({mine[name].op_type}) is not of this network"
    for name in sorted(mine.keys() & theirs.keys()):
        if _canonical(mine[name]) != _canonical(theirs[name]):
            yield f"the node {name!r} ({mine[name].op_type}) has other inputs, outputs or attributes"


def _canonical(node: onnx.NodeProto) -> tuple[object, ...]:
    attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
    return node.op_type, tuple(node.input), tuple(node.output), tuple(attributes)
