"""What is on record of an artifact's accuracy: from the device that measured it, or from the workstation."""

from __future__ import annotations

from typing import Any

from edgexfer.report.measured import Config, mapping
from edgexfer.results import Accuracy
from edgexfer.results import Config as Timed


def on_device(config: Config, timed: Timed) -> Accuracy | None:
    """What the device scored on its bundle's labelled samples."""
    return None if timed.top1 is None else Accuracy(timed.top1, _count(config.value.get("top1_images")))


def on_workstation(config: Config) -> Accuracy | None:
    """What the proof beside the file tells of it, else what the run that it was exported from scored."""
    artifact, run = config.artifact, config.run
    if artifact is None:
        return None
    int8 = mapping(artifact.proof, "int8")
    key = "top1" if artifact.precision == "int8" else "top1_float32"
    if _is_share(int8.get(key)):
        return Accuracy(float(int8[key]), _count(int8.get("images")))
    if run is None or artifact.precision == "int8":
        return None
    scores = run.run.scores
    for split in ("test", "val"):
        if _is_share(scores.get(f"{split}_top1")):
            return Accuracy(float(scores[f"{split}_top1"]), _count(scores.get(f"{split}_images")))
    return None


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
