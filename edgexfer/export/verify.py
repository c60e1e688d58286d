"""Checks an artifact anywhere: the digest against the file, the golden samples against this machine's runtime."""

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
from edgexfer.export.runtime import open_session, run


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


def _failures(model: onnx.ModelProto, info: ArtifactInfo) -> Iterator[str]:
    found = graph.digest(model)
    if found != info.digest:
        yield f"the file was changed after it was exported: its digest is {found[:12]}, it claims {info.digest[:12]}"
    inputs, outputs = [i.name for i in model.graph.input], [o.name for o in model.graph.output]
    if inputs != [info.input_name] or outputs != ["logits", "embedding"]:
        yield f"inputs {inputs} and outputs {outputs}; expected {[info.input_name]} and ['logits', 'embedding']"
        return
    try:
        session = open_session(graph.to_bytes(model))
        logits, _ = run(session, golden_pixels(info.golden.seed, info.preprocessing), info.preprocessing, info.input)
    except ExportError as error:
        yield str(error)
        return
    except Exception as error:  # the runtime's exceptions share no base class of their own
        yield f"ONNX Runtime cannot run it on the golden samples: {error}"
        return
    yield from _golden_failures(logits, np.array(info.golden.logits), info)


def _golden_failures(logits: np.ndarray, wanted: np.ndarray, info: ArtifactInfo) -> Iterator[str]:
    if logits.shape != wanted.shape:
        yield f"the golden samples give logits of shape {logits.shape}, expected {wanted.shape}"
        return
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
