"""How long each kernel of a model takes on this machine, told by ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx

from edgexfer.export.golden import feed
from edgexfer.export.held import WEIGHTED, hold_outputs
from edgexfer.export.runtime import open_session
from edgexfer.preprocessing import Preprocessing

RUNS = 20
WARM_UP = 2
WORTH = 0.01
KERNEL = "_kernel_time"
_MADE = re.compile(r"^fused |_token_\d+$|_nchwc$")
"""What ONNX Runtime adds to the name of a node, or of its output, when it makes a kernel of it and its neighbours."""


def kernel_seconds(content: bytes, x: np.ndarray) -> dict[str, float]:
    """The median seconds of each node that is left when ONNX Runtime has optimised the model, on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(content, profile=Path(folder, "profile"))
        for _ in range(WARM_UP + RUNS):
            session.run(None, {session.get_inputs()[0].name: x})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(KERNEL):
            times.setdefault(name.removesuffix(KERNEL), []).append(event["dur"] / 1e6)
    return {name: float(np.median(found[WARM_UP:])) for name, found in times.items() if len(found) > WARM_UP}


def slower_in_8_bits(
    model: onnx.ModelProto, wrapped: onnx.ModelProto, picture: np.ndarray, preprocessing: Preprocessing, kind: str
) -> list[str]:
    """Names of the layers whose own kernel takes longer in 8 bits than in float32, the largest loss of time first.

    What it takes to go from float32 to 8 bits and back is not in it: whether a file gains by leaving such a layer in
    float32 has to be tried. Left out are losses below ``WORTH`` of the whole, and kernels whose layer cannot be told
    from their name.

    Args:
        model: The float32 model.
        wrapped: Its int8 form.
        picture: uint8 ``(1, H, W, 3)``.
        preprocessing: Mean and std for the float input.
        kind: ``"uint8"`` or ``"float"``.
    """
    x = feed(picture, preprocessing, kind)
    floats, rounded = (_layer_seconds(model, one.SerializeToString(), x) for one in (model, wrapped))
    lost = {name: rounded[name] - floats[name] for name in floats if name in rounded}
    least = WORTH * sum(rounded.values())
    return sorted((name for name in lost if lost[name] > least), key=lambda name: -lost[name])


def _layer_seconds(model: onnx.ModelProto, content: bytes, x: np.ndarray) -> dict[str, float]:
    """Seconds of the kernels of each layer with weights and of what is computed between it and the next."""
    nodes = list(hold_outputs(model).graph.node)
    named = {output: place for place, node in enumerate(nodes) for output in node.output}
    owners = _owners(nodes, named)
    named |= {node.name: place for place, node in enumerate(nodes)}
    seconds: dict[str, float] = {}
    for kernel, spent in kernel_seconds(content, x).items():
        owner = owners.get(named.get(_MADE.sub("", kernel), -1))
        if owner is not None:
            seconds[owner] = seconds.get(owner, 0.0) + spent
    return seconds


def _owners(nodes: list[onnx.NodeProto], made_by: dict[str, int]) -> dict[int, str]:
    """For the place of each node the last layer with weights at or above it, which its kernel was made for."""
    last: dict[int, int] = {}
    for place, node in enumerate(nodes):
        above = [last[made_by[name]] for name in node.input if made_by.get(name) in last]
        if node.op_type in WEIGHTED:
            last[place] = place
        elif above:
            last[place] = max(above)
    return {place: nodes[layer].name for place, layer in last.items()}
