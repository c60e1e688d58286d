"""ONNX Runtime as this room uses it: one processor thread, batches, both outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgexfer.errors import ExportError
from edgexfer.export.golden import feed
from edgexfer.onnxruntime_import import import_onnxruntime
from edgexfer.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnxruntime

OUTPUTS = ["logits", "embedding"]
BATCHES = (1, 3, 8)


def open_session(
    content: bytes, *, threads: int = 1, exact: bool = False, optimised: bool = True, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session on the processor.

    Args:
        content: The model's bytes.
        threads: Threads inside an operator.
        exact: Never let 8-bit products saturate, as int8 activations with 8-bit weights do on x86 without VNNI.
        optimised: Off computes every node as it stands in the file: slow, and the meaning of the file.
        profile: The beginning of the name of a file that takes the time of every node.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an exception
    if threads > 1:  # waiting threads spin, and would take the cores from another session's turn
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} refuses the model: {error}") from error


def cuts(count: int, batches: Sequence[int] = BATCHES) -> Iterator[slice]:
    """Slices of 1, 3, 8, 8, 8, ... that cover ``count`` entries, so that every batch size is tried."""
    start, sizes = 0, list(batches)
    while start < count:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        yield slice(start, min(start + size, count))
        start += size


def run(
    session: onnxruntime.InferenceSession, pixels: np.ndarray, preprocessing: Preprocessing, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``(N, K)`` and embedding ``(N, D)`` of uint8 pixels ``(N, H, W, 3)``, in batches of 1, 3, 8, 8, ..."""
    name = session.get_inputs()[0].name
    parts: list[Any] = [session.run(OUTPUTS, {name: feed(pixels[c], preprocessing, kind)}) for c in cuts(len(pixels))]
    logits, embedding = (np.concatenate(p) for p in zip(*parts, strict=True))
    return logits, embedding
