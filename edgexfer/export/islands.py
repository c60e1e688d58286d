"""What the float islands of an int8 file cost on this machine, told by ONNX Runtime's own profiler.

ONNX Runtime makes several nodes without a name of an operator for which it has no kernel. Of these, HardSwish is
written as they are before it is timed; any other one stays without a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from edgexfer.export.golden import feed
from edgexfer.export.kernels import kernel_seconds
from edgexfer.export.opsets import hard_swish
from edgexfer.export.qdq import island_nodes
from edgexfer.preprocessing import Preprocessing


def island_seconds(
    model: onnx.ModelProto, picture: np.ndarray, preprocessing: Preprocessing, kind: str
) -> dict[str, float]:
    """Seconds that each kind of float island takes for one picture on one thread, the way there and back included.

    A kind that the profiler does not know by name is left out.

    Args:
        model: The int8 model.
        picture: uint8 ``(1, H, W, 3)``.
        preprocessing: Mean and std for the float input.
        kind: ``"uint8"`` or ``"float"``.
    """
    islands = island_nodes(model)
    if not islands:
        return {}
    medians = kernel_seconds(_written_out(model).SerializeToString(), feed(picture, preprocessing, kind))
    beside = _beside(model, islands)
    seconds: dict[str, float] = {}
    for node in islands:
        if node.name in medians:
            names = [node.name, f"{node.name}_gate", *beside[node.name]]
            seconds[node.op_type] = seconds.get(node.op_type, 0.0) + sum(medians.get(name, 0.0) for name in names)
    return dict(sorted(seconds.items()))


def _beside(model: onnx.ModelProto, islands: Sequence[onnx.NodeProto]) -> dict[str, set[str]]:
    """The names of what undoes and makes rounding beside each island, by the island's name; each only once."""
    found: dict[str, set[str]] = {node.name: set() for node in islands}
    feeding = {name: node.name for node in reversed(islands) for name in node.input}
    fed = {name: node.name for node in islands for name in node.output}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in feeding:
            found[feeding[node.output[0]]].add(node.name)
        elif node.op_type == "QuantizeLinear" and node.input[0] in fed:
            found[fed[node.input[0]]].add(node.name)
    return found


def _written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.ClearField("node")
    for node in model.graph.node:
        made.graph.node.extend(hard_swish(node) if node.op_type == "HardSwish" else [node])
    return made
