"""Checks an artifact anywhere: the digest against the file, the golden samples against this machine's runtime.

The file may be anyone's: it is run only where its digest is right, and in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgexfer.errors import ExportError
from edgexfer.export import graph
from edgexfer.export.figures import max_abs_error
from edgexfer.export.golden import golden_pixels
from edgexfer.export.metadata import ArtifactInfo, info_of
from edgexfer.export.runtime import OUTPUTS, open_session, run
from edgexfer.fold.onnxfile.float64 import MEMORY_BYTES, limited_memory

COPIES = 4
"""How often a session holds the model while it is opened, about."""


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        verified: Whether everything agrees; ``None`` for an ONNX file of another program, which promises nothing.
        failures: One sentence for each thing that does not.
    """

    verified: bool | None
    failures: tuple[str, ...] = ()


def verify(path: Path) -> Verification:
    """Recomputes the digest and the golden answers of an artifact.

    Raises:
        FormatError: The file cannot be read, or its metadata is damaged.
    """
    model = graph.load_model(path)
    info = info_of(model, str(path))
    if info is None:
        return Verification(None)
    failures = tuple(_failures(model, info))
    return Verification(not failures, failures)


def golden_logits(model: onnx.ModelProto, info: ArtifactInfo) -> np.ndarray:
    """What a model answers on the golden samples of ``info``, of the shape that ``info`` expects.

    Raises:
        ExportError: It has other inputs or outputs, cannot be run, takes more memory than ``MEMORY_BYTES`` beside its
            own, or answers in another shape.
    """
    inputs, outputs = [i.name for i in model.graph.input], [o.name for o in model.graph.output]
    if inputs != [info.input_name] or outputs != OUTPUTS:
        raise ExportError(f"inputs {inputs} and outputs {outputs}; expected {[info.input_name]} and {OUTPUTS}")
    content = graph.to_bytes(model)
    try:
        pixels = golden_pixels(info.golden.seed, info.preprocessing)
        with limited_memory(MEMORY_BYTES + COPIES * len(content)):
            logits, _ = run(open_session(content), pixels, info.preprocessing, info.input)
    except ExportError:
        raise
    except Exception as error:  # the runtime's exceptions share no base class of their own
        raise ExportError(f"ONNX Runtime cannot run it on the golden samples: {error}") from error
    wanted = np.shape(info.golden.logits)
    if logits.shape != wanted:
        raise ExportError(f"the golden samples give logits of shape {logits.shape}, expected {wanted}")
    return logits


def _failures(model: onnx.ModelProto, info: ArtifactInfo) -> Iterator[str]:
    found = graph.digest(model)
    if found != info.digest:
        yield f"the file was changed after it was exported: its digest is {found[:12]}, it claims {info.digest[:12]}"
        return
    try:
        logits = golden_logits(model, info)
    except ExportError as error:
        yield str(error)
        return
    yield from _golden_failures(logits, np.array(info.golden.logits), info)


def _golden_failures(logits: np.ndarray, wanted: np.ndarray, info: ArtifactInfo) -> Iterator[str]:
    error = max_abs_error(logits, wanted)
    if error > info.golden.tolerance:
        yield (
            f"wrong answers on the golden samples: logits are off by {error:.3g}, allowed {info.golden.tolerance:.3g}"
            + (f" (int8 for {info.target}: does this processor fit?)" if info.target else "")
        )
        return
    rows = np.arange(len(wanted))
    margin = wanted.max(axis=1) - wanted[rows, logits.argmax(axis=1)]
    if (margin > info.golden.tolerance).any():
        yield "another class than expected on the golden samples"
