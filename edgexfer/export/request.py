"""What an export is asked for, and what it hands back: plain values, no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.errors import ExportError
from edgexfer.export.metadata import INPUTS, ArtifactInfo, Cut
from edgexfer.export.quantize import Int8, Witnesses
from edgexfer.export.targets import form_for, target_of
from edgexfer.export.verdict import recommended_by_threads
from edgexfer.preprocessing import Preprocessing

INT8 = ".int8.onnx"
"""How the name of an int8 file ends."""


@dataclass(frozen=True)
class ExportRequest:
    """What is exported, whatever trained it.

    Attributes:
        model: The network's name.
        classes: Class names in the order of the outputs.
        preprocessing: What the network expects of its input.
        parent_sha256: SHA-256 of the weight file.
        fold_bn: Fold BatchNorm away.
        scale_shift: Make a product and a sum of each BatchNorm that no layer can take up.
        input: ``"uint8"`` (pixels in, preprocessing in the graph) or ``"float"`` (a normalised tensor in).
        force: Replace files that exist.
        int8: Write an int8 artifact beside the float32 one.
        target: Name of the machine that it is for, one of ``edgexfer.export.targets.TARGETS``; default this one.
        runtime_version: The oldest ONNX Runtime that has to read it, such as ``"1.13"``; default 1.16.
        plan: A plan file of an earlier int8 export to repeat, byte for byte.
        calibration: How int8 ranges are chosen: ``"auto"``, ``"minmax"``, ``"entropy"`` or ``"percentile"``.
        symmetry: Whether int8 ranges of activations lie around zero: ``"auto"``, ``"asymmetric"`` or ``"symmetric"``.
        max_drop: Points of accuracy that int8 may lose.
        cut: How the data of the run was cut, for the artifact to remember.
    """

    model: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    parent_sha256: str
    fold_bn: bool = True
    scale_shift: bool = False
    input: str = "uint8"
    force: bool = False
    int8: bool = False
    target: str | None = None
    runtime_version: str | None = None
    plan: Path | None = None
    calibration: str = "auto"
    symmetry: str = "auto"
    max_drop: float = 1.0
    cut: Cut | None = None


@dataclass(frozen=True)
class Pictures:
    """Real pictures at the network's input size.

    Attributes:
        images: uint8 ``(N, H, W, 3)``, RGB, for the comparison; N may be 0.
        labels: int64 ``(N,)``.
        calibration: Batches of uint8 ``(n, H, W, 3)`` from the training split, for int8.
        tuning: Labelled pictures that int8 is chosen on, none of them among ``images``.
    """

    images: np.ndarray
    labels: np.ndarray
    calibration: Iterable[np.ndarray] = ()
    tuning: Witnesses | None = None


@dataclass(frozen=True)
class Int8Result:
    """The int8 artifact that was written.

    Attributes:
        artifact: The file.
        plan_file: The plan that makes it again.
        made: Its metadata and the figures it was judged by.
    """

    artifact: Path
    plan_file: Path
    made: Int8

    def to_json(self) -> dict[str, Any]:
        """The ``int8`` part of what ``edgexfer export --json`` prints."""
        made = self.made
        return {
            "artifact": str(self.artifact),
            "max_abs_error": made.info.proof.max_abs_error,
            "top1_agreement": made.info.proof.top1_agreement,
            "top1": made.top1,
            "top1_float32": made.top1_float32,
            "speedup": made.speedup,
            "speedup_by_threads": made.speedups,
            "recommended": made.recommended,
            "recommended_by_threads": recommended_by_threads(made),
        }


@dataclass(frozen=True)
class ExportResult:
    """What was written, and the figures it was written on."""

    artifact: Path
    info: ArtifactInfo
    proof_file: Path
    int8: Int8Result | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that ``edgexfer export --json`` prints."""
        value: dict[str, Any] = {
            "artifact": str(self.artifact),
            "batchnorm_folded": self.info.batchnorm_folded,
            "batchnorm_kept": [{"name": k.name, "reason": k.reason} for k in self.info.batchnorm_kept],
            "max_abs_error": self.info.proof.max_abs_error,
            "top1_agreement": self.info.proof.top1_agreement,
        }
        return value if self.int8 is None else {**value, "int8": self.int8.to_json()}


@dataclass(frozen=True)
class Files:
    """Everything that an export may write."""

    float32: Path
    proof: Path
    int8: Path
    plan: Path

    @classmethod
    def beside(cls, out: Path) -> Files:
        """The files that an export to ``out`` may write."""
        return cls(out, *(out.with_name(out.stem + end) for end in (".proof.json", INT8, ".plan.json")))

    @classmethod
    def of_int8(cls, int8: Path) -> Files | None:
        """The files of the export that wrote ``int8``; ``None`` for a name that no export gives."""
        return cls.beside(int8.with_name(int8.name[: -len(INT8)] + ".onnx")) if int8.name.endswith(INT8) else None


def check_request(request: ExportRequest, out: Path, pictures: Pictures) -> None:
    """Refuses what cannot be exported, before any work is done.

    Raises:
        ExportError: All mistakes found.
    """
    mistakes = []
    height, width = request.preprocessing.input_size
    if out.suffix != ".onnx":
        mistakes.append(f"the output is {str(out)!r}; expected a name that ends in .onnx")
    if request.input not in INPUTS:
        mistakes.append(f"input is {request.input!r}; allowed: {', '.join(INPUTS)}")
    if not request.classes:
        mistakes.append("there are no class names")
    images = pictures.images
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, 3):
        mistakes.append(f"images are {images.dtype} {images.shape}; expected uint8 (N, {height}, {width}, 3)")
    if len(pictures.labels) != len(images):
        mistakes.append(f"{len(images)} images come with {len(pictures.labels)} labels; expected one each")
    for check, value in ((target_of, request.target), (form_for, request.runtime_version)):
        try:
            check(value)
        except ExportError as error:
            mistakes.append(str(error))
    if request.scale_shift and not request.fold_bn:
        mistakes.append("--scale-shift goes on where folding ends; drop it, or --no-fold-bn")
    if not request.int8 and request.plan:
        mistakes.append("--plan shapes the int8 file; add --int8")
    if mistakes:
        raise ExportError("; ".join(mistakes))
