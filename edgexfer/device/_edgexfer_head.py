"""A head of one's own: a linear layer over a model's embedding, learned on the device by ``adapt.py``.

``head.npz`` holds ``W (D, K), b (K,), classes, artifact_sha256, embedding_dim, format``; it belongs to the very file
whose embedding it was learned on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import _edgexfer_files as files
import numpy as np
from _edgexfer_environment import DeviceError


@dataclass(frozen=True)
class Head:
    """A linear layer: ``logits = embedding @ weight + bias``.

    Attributes:
        weight: float32 ``(D, K)``.
        bias: float32 ``(K,)``.
        classes: Names in the order of the outputs.
        artifact_sha256: SHA-256 of the ONNX file it was learned on.
    """

    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    classes: Tuple[str, ...]
    artifact_sha256: str

    def logits(self, embedding: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Embeddings ``(N, D)`` to float32 logits ``(N, K)``."""
        values: np.ndarray[Any, Any] = embedding.astype(np.float32) @ self.weight + self.bias
        return values


def write(path: str, head: Head) -> None:
    """Writes ``head.npz``, whole or not at all.

    Raises:
        DeviceError: It cannot be written.
    """
    with files.whole_file(path) as part, open(part, "wb") as stream:
        np.savez(
            stream,
            W=head.weight.astype(np.float32),
            b=head.bias.astype(np.float32),
            classes=np.array(head.classes, dtype=np.str_),
            artifact_sha256=np.array(head.artifact_sha256),
            embedding_dim=np.array(head.weight.shape[0]),
            format=np.array(files.FORMAT),
        )


def read(path: str) -> Head:
    """Reads ``head.npz``.

    Raises:
        DeviceError: It is missing, damaged, or of a newer format.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            files.check_format({"format": int(found["format"])}, "head", path)
            classes = tuple(str(c) for c in found["classes"])
            head = Head(found["W"], found["b"], classes, str(found["artifact_sha256"]))
            dim = int(found["embedding_dim"])
    except DeviceError:
        raise
    except OSError as error:
        raise DeviceError(f"cannot read the head {path!r}: {error.strerror or error}; make it with adapt.py") from error
    except Exception as error:  # numpy's readers raise many things at a file that is not one of theirs
        raise DeviceError(f"the head {path!r} is damaged ({error}); make it again with adapt.py") from error
    if head.weight.shape != (dim, len(classes)) or head.bias.shape != (len(classes),) or not classes:
        raise DeviceError(f"the head {path!r} is damaged (shape {head.weight.shape}); make it again with adapt.py")
    return head


def check_belongs(head: Head, path: str, model: str, sha256: str) -> None:
    """Refuses a head that was learned on another model's embedding.

    Raises:
        DeviceError: The SHA-256 differ.
    """
    if head.artifact_sha256 != sha256:
        raise DeviceError(
            f"the head {path!r} was learned on another model (SHA-256 {head.artifact_sha256[:12]}...), not on {model!r}"
            f" ({sha256[:12]}...); name that model with --model, or learn the head again with adapt.py"
        )
