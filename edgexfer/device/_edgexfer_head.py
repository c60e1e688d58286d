"""A head of one's own: a linear layer over a model's embedding, learned on the device by ``adapt.py``.

``head.npz`` holds ``W (D, K), b (K,), classes, artifact_sha256, embedding_dim, format``; it belongs to the very file
whose embedding it was learned on. A head that ``adapt.py`` wrote also remembers what it was learned on
(``example_digests (N, 32)``, ``example_labels (N,)``, ``example_groups (N,)``, ``example_held (N,)``), so that classes
can be added to it, and its logits on the model's golden pictures (``golden_logits (4, K)``), so that another board can
prove that it answers there as it did here. Readers need neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import _edgexfer_files as files
import numpy as np
from _edgexfer_environment import DeviceError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Examples:
    """What a head was learned on.

    Attributes:
        digests: SHA-256 of each picture, uint8 ``(N, 32)``.
        labels: Positions in the head's classes, int64 ``(N,)``.
        groups: Pictures that belong together have one number, int64 ``(N,)``.
        held: Which were held out, bool ``(N,)``.
    """

    digests: Array
    labels: Array
    groups: Array
    held: Array


@dataclass(frozen=True)
class Head:
    """A linear layer: ``logits = embedding @ weight + bias``.

    Attributes:
        weight: float32 ``(D, K)``.
        bias: float32 ``(K,)``.
        classes: Names in the order of the outputs.
        artifact_sha256: SHA-256 of the ONNX file it was learned on.
        examples: What it was learned on, where it says so.
        golden_logits: float32 ``(4, K)`` on the model's golden pictures, where it says so.
    """

    weight: Array
    bias: Array
    classes: Tuple[str, ...]
    artifact_sha256: str
    examples: Optional[Examples] = None
    golden_logits: Optional[Array] = None

    def logits(self, embedding: Array) -> Array:
        """Embeddings ``(N, D)`` to float32 logits ``(N, K)``."""
        values: Array = embedding.astype(np.float32, copy=False) @ self.weight + self.bias
        return values


def write(path: str, head: Head) -> None:
    """Writes ``head.npz``, whole or not at all.

    Raises:
        DeviceError: It cannot be written.
    """
    more = {}
    if head.examples is not None:
        more = {
            "example_digests": head.examples.digests,
            "example_labels": head.examples.labels,
            "example_groups": head.examples.groups,
            "example_held": head.examples.held,
        }
    if head.golden_logits is not None:
        more["golden_logits"] = head.golden_logits.astype(np.float32)
    content: Dict[str, Any] = {
        "W": head.weight.astype(np.float32),
        "b": head.bias.astype(np.float32),
        "classes": np.array(head.classes, dtype=np.str_),
        "artifact_sha256": np.array(head.artifact_sha256),
        "embedding_dim": np.array(head.weight.shape[0]),
        "format": np.array(files.FORMAT),
        **more,
    }
    with files.whole_file(path) as part, open(part, "wb") as stream:
        np.savez(stream, **content)


def read(path: str) -> Head:
    """Reads ``head.npz``.

    Raises:
        DeviceError: It is missing, damaged, or of a newer format.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            files.check_format({"format": int(found["format"])}, "head", path)
            classes = tuple(str(c) for c in found["classes"])
            head = Head(
                found["W"], found["b"], classes, str(found["artifact_sha256"]), _examples(found), _golden(found)
            )
            dim = int(found["embedding_dim"])
    except DeviceError:
        raise
    except OSError as error:
        raise DeviceError(f"cannot read the head {path!r}: {error.strerror or error}; make it with adapt.py") from error
    except Exception as error:  # numpy's readers raise many things at a file that is not one of theirs
        raise DeviceError(f"the head {path!r} is damaged ({error}); make it again with adapt.py") from error
    if head.weight.shape != (dim, len(classes)) or head.bias.shape != (len(classes),) or not classes:
        raise DeviceError(f"the head {path!r} is damaged (shape {head.weight.shape}); make it again with adapt.py")
    if not (np.isfinite(head.weight).all() and np.isfinite(head.bias).all()):
        raise DeviceError(f"the head {path!r} is damaged (weights that are no numbers); make it again with adapt.py")
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


def models_of(head: Head, path: str, models: Sequence[str]) -> List[str]:
    """Of ``models`` the file that a head belongs to.

    Raises:
        DeviceError: It is none of them.
    """
    found = [model for model in models if files.sha256_file(model) == head.artifact_sha256]
    if not found:
        check_belongs(head, path, ", ".join(models), files.sha256_file(models[0]))
    return found


def _examples(found: Any) -> Optional[Examples]:
    if "example_digests" not in found:
        return None
    digests = found["example_digests"]
    parts = [found[f"example_{name}"] for name in ("labels", "groups", "held")]
    if digests.ndim != 2 or digests.shape[1] != 32 or any(p.shape != digests.shape[:1] for p in parts):
        raise ValueError(f"examples of shape {digests.shape}")
    if len(parts[0]) and not 0 <= int(parts[0].min()) <= int(parts[0].max()) < len(found["classes"]):
        raise ValueError("examples of classes that are not there")
    return Examples(digests, *parts)


def _golden(found: Any) -> Optional[Array]:
    if "golden_logits" not in found:
        return None
    logits: Array = found["golden_logits"]
    if logits.ndim != 2 or logits.shape[1] != len(found["classes"]):
        raise ValueError(f"golden logits of shape {logits.shape}")
    return logits
