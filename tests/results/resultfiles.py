"""Results of measurements in the format of the device room, with chosen figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

MACHINE = {"host": "pi", "cpu": "Cortex-A72", "memory_bytes": 4_000_000_000, "governor": "ondemand"}


def noisy(median: float, seed: int, count: int = 200) -> list[float]:
    """Times around ``median``, in seconds."""
    return [float(v) for v in median * np.random.default_rng(seed).lognormal(0, 0.05, count)]


def config(**changes: Any) -> dict[str, Any]:
    """A configuration of a result; ``changes`` replace what it says or add to it."""
    threads = changes.get("threads", 1)
    return {
        "model": "student.onnx",
        "network": "tiny",
        "sha256": "aa",
        "parent_sha256": "00",
        "precision": "float32",
        "runtime": "onnxruntime",
        "runtime_version": "1.20",
        "threads": threads,
        "scenario": "single-stream",
        "batch": 1,
        "latency_s": noisy(0.01, 1),
        "load_s": 0.1,
        "first_s": 0.02,
        "peak_rss_bytes": 1000,
        "size_bytes": 500,
        "top1": 0.9,
        "verified": True,
        "status": "ok",
        "error": None,
        "session": {"intra_op_num_threads": threads, "execution_mode": "sequential"},
        "affinity": [0, 1, 2, 3],
        "input": {"image": ["uint8", [1, 12, 16, 3]]},
        "observed": {},
        **changes,
    }


def save(path: Path, *configs: dict[str, Any], **changes: Any) -> Path:
    """A result file of ``configs`` (a plain one if none is given); ``changes`` replace the rest of what it says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = {
        "format": 1,
        "created": "2025-01-01T00:00:00Z",
        "edgexfer_version": "0.1",
        "machine": MACHINE,
        "emulated": False,
        "settings": {"min_seconds": 10.0, "min_runs": 100},
        "configs": list(configs) or [config()],
        **changes,
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
