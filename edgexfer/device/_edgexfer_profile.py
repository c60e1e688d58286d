"""The time of each operator of a network, from ONNX Runtime's own profiler, joined with the names of the layers.

ONNX Runtime fuses and renames (``leaky_relu_nchwc``, ``node_conv2d_token_3``); what is left of a name leads back to a
node of the file, or to the output it makes, and from there to the weight, whose name is the layer's.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Optional, Tuple

import _edgexfer_onnxfile as onnxfile
from _edgexfer_environment import DeviceError

Node = onnxfile.Node
_ADDED = re.compile(r"(_kernel_time|_nchwc|_token_\d+|_quant|_fused)+$")
_WEIGHT = re.compile(r"\.(weight|bias)(_\w+)?$")
STEPS_BACK = 4


def read_profile(profile: str, model: str) -> List[Dict[str, Any]]:
    """The operators of a profile file, the slowest first; the file is removed.

    Args:
        profile: What the profiler wrote; its first inference is left out.
        model: The ONNX file.

    Returns:
        ``{name, op, layer, calls, mean_s, share}`` each; ``layer`` is ``None`` for what belongs to none.

    Raises:
        DeviceError: The file cannot be read.
    """
    try:
        with open(profile, encoding="utf-8") as stream:
            events = json.load(stream)
        os.unlink(profile)
    except (OSError, ValueError) as error:
        raise DeviceError(f"the profile {profile!r} cannot be read ({error}); run again") from error
    layers = Layers(onnxfile.read_nodes(model))
    times: Dict[Tuple[str, str], List[int]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            key = str(event["name"])[: -len("_kernel_time")], str(event.get("args", {}).get("op_name", ""))
            times.setdefault(key, []).append(int(event["dur"]))
    steady = {key: found[1:] or found for key, found in times.items()}
    means = {key: sum(found) / len(found) / 1e6 for key, found in steady.items()}
    total = sum(means.values()) or 1.0
    rows = [
        {
            "name": name,
            "op": op,
            "layer": layers.of(name),
            "calls": len(steady[name, op]),
            "mean_s": round(mean, 9),
            "share": round(mean / total, 6),
        }
        for (name, op), mean in means.items()
    ]
    return sorted(rows, key=lambda row: -float(str(row["mean_s"])))


class Layers:
    """Finds the layer that a node of the running network came from."""

    def __init__(self, nodes: List[Node]) -> None:
        named = ((node.name or f"{node.op_type}_{number}", node) for number, node in enumerate(nodes))
        self._by_name = dict(named)  # onnxruntime gives those without a name their place as one
        self._by_output = {output: node for node in nodes for output in node.outputs}

    def of(self, name: str) -> Optional[str]:
        """The layer's name: that of its weight without ``.weight``."""
        bare = _ADDED.sub("", name)
        node = self._by_name.get(bare) or self._by_output.get(bare) or self._by_name.get(name)
        for _ in range(STEPS_BACK):
            if node is None:
                return None
            weight = self._weight(node)
            if weight is not None:
                return weight
            if not node.inputs or len(node.inputs) > 1 and node.op_type not in _KEEPERS:
                return None
            node = self._by_output.get(node.inputs[0])
        return None

    def _weight(self, node: Node) -> Optional[str]:
        for given in node.inputs[1:] if len(node.inputs) > 1 else node.inputs:
            maker = self._by_output.get(given)
            names = [given] + (list(maker.inputs[:1]) if maker is not None and maker.op_type in _HANDERS else [])
            for candidate in names:
                if _WEIGHT.search(candidate):
                    return _WEIGHT.sub("", candidate)
        return None


_HANDERS = ("DequantizeLinear", "QuantizeLinear", "Transpose", "Identity")
_KEEPERS = ("QuantizeLinear", "DequantizeLinear", "Clip", "PRelu", "Reshape")  # their other inputs are parameters
