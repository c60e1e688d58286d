"""edgexfer: a folder of images and a device in, the smallest proven ONNX classifier out.

``import edgexfer`` loads nothing heavy; each room is imported by its own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgexfer.version import __version__

if TYPE_CHECKING:
    from edgexfer.classifier import Classifier as Classifier

__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Classifier":
        from edgexfer.classifier import Classifier

        return Classifier
    raise AttributeError(f"module 'edgexfer' has no attribute {name!r}")
