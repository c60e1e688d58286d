"""From a trained network to an artifact: fold, export, prove, label, write; nothing is written that was not proven."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export import graph, parity
from edgexfer.export.golden import SEED, feed, golden_of, golden_pixels, tolerance_of
from edgexfer.export.metadata import INPUTS, ArtifactInfo, Kept, Proof
from edgexfer.export.torch_onnx import to_onnx
from edgexfer.files import FORMAT, refuse_overwrite, write_bytes, write_json
from edgexfer.preprocessing import Preprocessing

NOT_ASKED = "folding was turned off (--no-fold-bn)"
FOLD_EXAMPLES = 4

Say = Callable[[str], None]


@dataclass(frozen=True)
class ExportRequest:
    """What is exported, whatever trained it.

    Attributes:
        model: The network's name.
        classes: Class names in the order of the outputs.
        preprocessing: What the network expects of its input.
        parent_sha256: SHA-256 of the weight file.
        fold_bn: Fold BatchNorm away.
        input: ``"uint8"`` (pixels in, preprocessing in the graph) or ``"float"`` (a normalised tensor in).
        force: Replace files that exist.
    """

    model: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    parent_sha256: str
    fold_bn: bool = True
    input: str = "uint8"
    force: bool = False


@dataclass(frozen=True)
class Pictures:
    """Real pictures at the network's input size.

    Attributes:
        images: uint8 ``(N, H, W, 3)``, RGB, for the comparison; N may be 0.
        labels: int64 ``(N,)``.
        calibration: Batches of uint8 ``(n, H, W, 3)`` from the training split, for int8.
    """

    images: np.ndarray
    labels: np.ndarray
    calibration: Iterable[np.ndarray] = ()


@dataclass(frozen=True)
class ExportResult:
    """What was written, and the figures it was written on."""

    artifact: Path
    info: ArtifactInfo
    proof_file: Path

    def to_json(self) -> dict[str, Any]:
        """The object that ``edgexfer export --json`` prints."""
        return {
            "artifact": str(self.artifact),
            "batchnorm_folded": self.info.batchnorm_folded,
            "batchnorm_kept": [{"name": k.name, "reason": k.reason} for k in self.info.batchnorm_kept],
            "max_abs_error": self.info.proof.max_abs_error,
            "top1_agreement": self.info.proof.top1_agreement,
        }


@dataclass(frozen=True)
class _Folding:
    module: nn.Module
    folded: int
    kept: tuple[Kept, ...]
    max_rel_error_f64: float | None


@dataclass(frozen=True)
class _Answers:
    """PyTorch's answers, taken before anything is touched."""

    golden: parity.Reference
    pictures: parity.Reference | None

    @classmethod
    def of(cls, net: nn.Module, request: ExportRequest, pictures: Pictures) -> _Answers:
        rule, images = request.preprocessing, pictures.images
        golden = parity.reference(net, golden_pixels(SEED, rule), rule)
        outputs = golden.logits.shape[1]
        if outputs != len(request.classes):
            raise ExportError(f"the network has {outputs} outputs, but there are {len(request.classes)} class names")
        return cls(golden, parity.reference(net, images, rule) if len(images) else None)


def export_network(
    net: nn.Module, request: ExportRequest, out: Path, *, pictures: Pictures, say: Say = lambda _: None
) -> ExportResult:
    """Writes ``out`` and ``<stem>.proof.json`` once ONNX Runtime has given PyTorch's answers.

    Args:
        net: The trained network (``embed``, ``classify``); not changed.
        request: What is exported, and how.
        out: The ``.onnx`` file to write.
        pictures: What the comparison is made on; the golden samples are always compared too.
        say: Takes each sentence of the talk.

    Raises:
        WouldOverwriteError: A file exists and ``force`` is off.
        ExportError: The options do not fit, the network cannot be exported, or the comparison failed.
    """
    check_request(request, out, pictures)
    proof_file = out.with_name(f"{out.stem}.proof.json")
    for path in (out, proof_file):
        refuse_overwrite(path, request.force)
    answers = _Answers.of(net, request, pictures)
    folding = _fold(net, request, pictures, say)
    model = to_onnx(folding.module, request.preprocessing, request.input)
    labelled, info = _prove(model, answers, folding, request, pictures)
    write_bytes(out, graph.to_bytes(labelled))
    write_json(proof_file, {"format": FORMAT, "artifact": out.name, "float32": info.to_dict()["proof"]})
    say(_sentence(out, info))
    return ExportResult(out, info, proof_file)


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
    if mistakes:
        raise ExportError("; ".join(mistakes))


def _fold(net: nn.Module, request: ExportRequest, pictures: Pictures, say: Say) -> _Folding:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if not request.fold_bn:
        names = [name for name, module in net.named_modules() if isinstance(module, kinds)]
        say(f"BatchNorm: 0 of {len(names)} folded ({NOT_ASKED})")
        return _Folding(net, 0, tuple(Kept(name, NOT_ASKED) for name in names), None)
    from edgexfer.fold import fold_batchnorm

    net = copy.deepcopy(net).cpu().float().eval()
    pixels = pictures.images[:FOLD_EXAMPLES]
    if not len(pixels):
        pixels = golden_pixels(SEED, request.preprocessing)
    folded = fold_batchnorm(net, torch.from_numpy(feed(pixels, request.preprocessing, "float")))
    count, kept = folded.plan.folded, tuple(Kept(k.name, k.reason) for k in folded.plan.kept)
    error = float(folded.proof.max_rel_error_f64) if count else None
    say(f"BatchNorm: {count} of {folded.plan.total} folded" + (f", float64 error {error:.1e}" if count else ""))
    for entry in kept:
        say(f"  kept {entry.name}: {entry.reason}")
    return _Folding(folded.module, count, kept, error)


def _prove(
    model: onnx.ModelProto, answers: _Answers, folding: _Folding, request: ExportRequest, pictures: Pictures
) -> tuple[onnx.ModelProto, ArtifactInfo]:
    """Compares golden samples and pictures, and labels the model with what came out."""
    content, rule, kind = graph.to_bytes(model), request.preprocessing, request.input
    on_golden = parity.compare(content, golden_pixels(SEED, rule), answers.golden, rule, kind)
    proven, images = on_golden, len(pictures.images)
    if answers.pictures is not None:
        proven = parity.compare(content, pictures.images, answers.pictures, rule, kind)
    info = ArtifactInfo(
        classes=request.classes,
        preprocessing=rule,
        model=request.model,
        parent_sha256=request.parent_sha256,
        precision="float32",
        input=kind,
        batchnorm_folded=folding.folded,
        batchnorm_kept=folding.kept,
        proof=Proof(
            folding.max_rel_error_f64,
            max(proven.max_abs_error, on_golden.max_abs_error),
            proven.top1_agreement,
            images,
        ),
        golden=golden_of(on_golden.logits, SEED, tolerance_of(on_golden.logits)),
    )
    return graph.attach(model, info)


def _sentence(out: Path, info: ArtifactInfo) -> str:
    seen = f"{info.proof.images} real images" if info.proof.images else "the golden samples only (no real images given)"
    return (
        f"{out}: ONNX Runtime against PyTorch on {seen}: largest logit difference {info.proof.max_abs_error:.2e},"
        f" top-1 agreement {info.proof.top1_agreement:.4f}"
    )
