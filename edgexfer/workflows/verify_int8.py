"""An int8 artifact against its run: exported again in memory, quantized again by the plan that lies beside it.

The metadata of an int8 file names its float32 file, not the weights of a run. Where that file lies beside it is held
against both. Where it does not, the proof file holds what its metadata said of pictures that are not at hand, so that
its very bytes can be made again; on another machine the last digits of its golden samples may be others, and then only
this link is left open: every tensor of the int8 file has been compared all the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from edgexfer.errors import EdgexferError, FormatError
from edgexfer.export import graph, qdq
from edgexfer.export.differences import differences
from edgexfer.export.metadata import ArtifactInfo, Proof, info_of
from edgexfer.export.plan import QuantizationPlan, read_plan
from edgexfer.export.prepare import prepare
from edgexfer.export.request import Files
from edgexfer.files import read_json

if TYPE_CHECKING:
    from edgexfer.export.exporter import Proven

BESIDE, MADE_AGAIN, UNCHECKED = "beside", "made again", "unchecked"
"""How the float32 file that an int8 file names was checked."""


@dataclass(frozen=True)
class Compared:
    """What came of it.

    Attributes:
        failures: One sentence for each thing that differs.
        plan: The plan in a few words; ``None`` where there is none to read.
        float32: How the float32 file was checked: ``BESIDE``, ``MADE_AGAIN`` or ``UNCHECKED``.
    """

    failures: tuple[str, ...]
    plan: str | None = None
    float32: str = UNCHECKED

    def to_dict(self) -> dict[str, Any]:
        """The part of what ``edgexfer verify --json`` prints."""
        return {"plan": self.plan, "float32_file": self.float32}


def against_again(path: Path, model: onnx.ModelProto, info: ArtifactInfo, again: Proven) -> Compared:
    """Compares an int8 file, tensor by tensor, with what the plan beside it makes of its run.

    Args:
        path: The int8 file.
        model: What it holds.
        info: Its metadata.
        again: The float32 artifact that the run gives now, labelled with the weights of the run.

    Raises:
        EdgexferError: The plan, or the float32 file beside it, is damaged.
    """
    files = Files.of_int8(path)
    if files is None:
        return Compared((f"its plan is looked for by its name: {path.name!r} does not end in .int8.onnx",))
    if not files.plan.is_file():
        return Compared((f"there is no plan {str(files.plan)!r}, so that it cannot be made again to compare",))
    plan = read_plan(files.plan)
    told = _tensors(model, again.model, plan)
    if files.float32.is_file():
        return Compared((*_beside(files, info, plan, again), *told), plan.describe(), BESIDE)
    written = _as_written(files, info, again)
    if written is None:
        return Compared(tuple(told), plan.describe(), UNCHECKED)
    sha256, digest = written
    same = sha256 == info.parent_sha256
    failures = (*(_planned(files, plan, digest) if same or told else ()), *told)
    return Compared(failures, plan.describe(), MADE_AGAIN if same else UNCHECKED)


def _tensors(model: onnx.ModelProto, float32: onnx.ModelProto, plan: QuantizationPlan) -> list[str]:
    try:
        return differences(model, qdq.quantize(prepare(float32), plan))
    except EdgexferError as error:
        return [str(error)]


def _beside(files: Files, info: ArtifactInfo, plan: QuantizationPlan, again: Proven) -> list[str]:
    """What the float32 file beside it has against it, the plan or the run."""
    name, content = str(files.float32), files.float32.read_bytes()
    model = graph.load_model(files.float32)
    own = info_of(model, name)
    found = hashlib.sha256(content).hexdigest()
    told = []
    if found != info.parent_sha256:
        told.append(f"it was made of {info.parent_sha256[:12]}, {name!r} is {found[:12]}")
    if own is None:
        return [*told, f"{name!r} was not written by edgexfer"]
    if own.parent_sha256 != again.info.parent_sha256:
        told.append(
            f"{name!r} was exported from the weights {own.parent_sha256[:12]}, the run's are"
            f" {again.info.parent_sha256[:12]}: other weights"
        )
    told += _planned(files, plan, graph.digest(model))
    return told + [f"{name!r}: {sentence}" for sentence in differences(model, again.model)]


def _planned(files: Files, plan: QuantizationPlan, digest: str) -> list[str]:
    if plan.artifact_digest == digest:
        return []
    return [
        f"the plan {str(files.plan)!r} was made for the artifact {plan.artifact_digest[:12]}, this one is {digest[:12]}"
    ]


def _as_written(files: Files, info: ArtifactInfo, again: Proven) -> tuple[str, str] | None:
    """SHA-256 and digest of the float32 file, made with what proof file and int8 file know of its metadata.

    ``None`` where no proof file of an export lies beside.
    """
    try:
        figures = Proof(**read_json(files.proof, "proof")["float32"])
        model, own = graph.attach(again.model, replace(again.info, cut=info.cut, proof=figures))
    except (FormatError, KeyError, TypeError, ValueError):  # missing, or not what export wrote
        return None
    return hashlib.sha256(graph.to_bytes(model)).hexdigest(), own.digest
