"""What a search has tried so far, shape by shape, read from its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexfer.workflows.shapes import Shape
from edgexfer.workflows.trace import Trace


@dataclass(frozen=True)
class Tried:
    """One shape.

    Attributes:
        shape: The shape.
        latency_s: By precision, untrained; ``None`` where it could not be measured.
        fits: Whether any precision fits.
        trainings: ``{"epochs", "val_top1", "seconds", "run"}`` each, shortest first.
        finals: ``{"file", "precision", "latency_s", "size_bytes", "val_top1", "chosen"}`` of what was exported.
        reason: Why it was not gone on with; empty where it was.
    """

    shape: Shape
    latency_s: Mapping[str, float | None]
    fits: bool
    trainings: tuple[Mapping[str, Any], ...]
    finals: tuple[Mapping[str, Any], ...]
    reason: str

    @property
    def chosen(self) -> bool:
        """Whether one of its files was chosen."""
        return any(final["chosen"] for final in self.finals)

    @property
    def best(self) -> float:
        """The best validation accuracy of any of its trainings; -1 without one."""
        return max((float(line["val_top1"]) for line in self.trainings), default=-1.0)

    def to_dict(self) -> dict[str, Any]:
        """As ``search.json`` holds it."""
        return {
            "shape": self.shape.name,
            "network": self.shape.network,
            "image_size": self.shape.image_size,
            "latency_s": dict(self.latency_s),
            "fits": self.fits,
            "trainings": [dict(line) for line in self.trainings],
            "finals": [dict(line) for line in self.finals],
            "chosen": self.chosen,
            "reason": self.reason,
        }


def tried(trace: Trace, shapes: Sequence[Shape]) -> list[Tried]:
    """Everything that was tried: what was chosen first, then by how far it came."""
    finals = [line for measured in trace.all("measured")[-1:] for line in measured["finals"]]
    found = [_of(trace, shape, finals) for shape in shapes]
    return sorted(found, key=lambda t: (not t.chosen, -len(t.finals), -len(t.trainings), -t.best, not t.fits))


def dropped(trace: Trace, shape: Shape) -> str:
    """Why a shape was not gone on with; empty where nothing was said, or a training came after it."""
    last = [line for line in trace.all("train", "drop") if line["shape"] == shape.name][-1:]
    return next((str(line["reason"]) for line in last if line["step"] == "drop"), "")


def _of(trace: Trace, shape: Shape, finals: Sequence[Mapping[str, Any]]) -> Tried:
    steps = ("latency", "train")
    mine = {step: [line for line in trace.all(step) if line["shape"] == shape.name] for step in steps}
    names = {f"{shape.name}.onnx", f"{shape.name}.int8.onnx"}
    trainings = sorted(mine["train"], key=lambda line: int(line["epochs"]))
    keys = ("epochs", "val_top1", "seconds", "run")
    exported = tuple(line for line in finals if line["file"] in names)
    return Tried(
        shape=shape,
        latency_s={line["precision"]: line["latency_s"] for line in mine["latency"]},
        fits=any(line["latency_s"] is not None and not line["over_budget"] for line in mine["latency"]),
        trainings=tuple({key: line[key] for key in keys} for line in trainings),
        finals=exported,
        reason="" if exported else dropped(trace, shape),
    )
