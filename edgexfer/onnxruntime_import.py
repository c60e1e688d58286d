"""ONNX Runtime, imported in one place, with its usage reports off: nothing here calls home."""

from __future__ import annotations

import os
from typing import Any


def import_onnxruntime() -> Any:
    """The module ``onnxruntime``; newer releases report usage unless told not to before they are loaded."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
