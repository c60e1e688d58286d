"""From a trained network to an artifact: fold, export, prove, label, write; nothing is written that was not proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export import graph, parity
from edgexfer.export.beside import is_same, remove_strangers
from edgexfer.export.first_pass import NOT_ASKED, Folding, fold_further, fold_network
from edgexfer.export.golden import SEED, golden_of, golden_pixels, tolerance_of
from edgexfer.export.metadata import ArtifactInfo, Proof
from edgexfer.export.opsets import lower
from edgexfer.export.plan import read_plan, write_plan
from edgexfer.export.progress import Bar
from edgexfer.export.quantize import Int8, Options, Source, Witnesses, quantize
from edgexfer.export.request import ExportRequest, ExportResult, Files, Int8Result, Pictures, check_request
from edgexfer.export.targets import Form, Target, form_for, oldest_runtime, target_of
from edgexfer.export.torch_onnx import check_size, to_onnx
from edgexfer.export.verdict import recommended_by_threads
from edgexfer.files import FORMAT, refuse_overwrite, write_json
from edgexfer.fold.onnxfile.plan import is_scaled

__all__ = ["ExportRequest", "ExportResult", "Int8Result", "Pictures", "export_network"]

PARITY_IMAGES = 24
"""Real pictures that ONNX Runtime is compared with PyTorch on, at most: two rounds of batches of 1, 3 and 8."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Answers:
    """PyTorch's answers, taken before anything is touched, and the real pictures that were asked about."""

    golden: parity.Reference
    images: np.ndarray
    pictures: parity.Reference | None

    @classmethod
    def of(cls, net: nn.Module, request: ExportRequest, pictures: Pictures) -> _Answers:
        rule, images = request.preprocessing, _spread(pictures.images, PARITY_IMAGES)
        golden = parity.reference(net, golden_pixels(SEED, rule), rule)
        outputs = golden.logits.shape[1]
        if outputs != len(request.classes):
            raise ExportError(f"the network has {outputs} outputs, but there are {len(request.classes)} class names")
        return cls(golden, images, parity.reference(net, images, rule) if len(images) else None)


def _spread(images: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the pictures, evenly spread."""
    if len(images) <= count:
        return images
    chosen: np.ndarray = images[np.linspace(0, len(images) - 1, count).round().astype(int)]
    return chosen


@dataclass(frozen=True)
class Proven:
    """A proven artifact that is not written: the model and its metadata."""

    model: onnx.ModelProto
    info: ArtifactInfo


def export_network(
    net: nn.Module,
    request: ExportRequest,
    out: Path,
    *,
    pictures: Pictures,
    say: Say = lambda _: None,
    bar: Bar | None = None,
) -> ExportResult:
    """Writes ``out`` and ``<stem>.proof.json`` once ONNX Runtime has given PyTorch's answers.

    With ``int8`` also ``<stem>.int8.onnx`` and ``<stem>.plan.json``, once they are measured against the float32 file.
    With ``force``, those of a float32 file that is replaced are removed.

    Args:
        net: The trained network (``embed``, ``classify``); not changed.
        request: What is exported, and how.
        out: The ``.onnx`` file to write.
        pictures: What the comparison is made on; the golden samples are always compared too.
        say: Takes each sentence of the talk.
        bar: Shows how far the search for int8 is.

    Raises:
        WouldOverwriteError: A file exists and ``force`` is off.
        ExportError: The options do not fit, the network cannot be exported, or the comparison failed.
        QuantizationError: The int8 file cannot be made or is of no use; the float32 one is written.
    """
    check_request(request, out, pictures)
    check_size(net)
    files = Files.beside(out)
    plan = read_plan(request.plan) if request.int8 and request.plan is not None else None
    follows_own = is_same(files.plan, request.plan)
    for path in (files.float32, files.proof, files.int8, *([files.plan] if request.int8 and not follows_own else [])):
        refuse_overwrite(path, request.force)
    answers = _Answers.of(net, request, pictures)
    folding = fold_network(net, request, pictures, say)
    form, machine = form_for(request.runtime_version), target_of(request.target)
    model, folding = _export(folding, request, form, say)
    proven = _prove(model, answers, folding, request)
    content = graph.to_bytes(proven.model)
    _write(files.float32, content, form)
    if request.force:
        remove_strangers(files, content, proven.info.digest, say, read=[request.plan])
    proof = _proof_of(out, proven.info, folding, form, machine)
    write_json(files.proof, proof)
    say(_sentence(out, proven.info))
    say(_form_words(form, machine))
    result = ExportResult(out, proven.info, files.proof)
    if not request.int8:
        return result
    source = Source(proven.model, proven.info, content)
    witnesses, options = Witnesses(pictures.images, pictures.labels), _options(request, machine, pictures)
    made = quantize(source, witnesses, pictures.calibration, plan=plan, options=options, say=say, bar=bar)
    _write(files.int8, made.content, form)
    if not follows_own:
        write_plan(files.plan, made.plan)
    write_json(files.proof, {**proof, "int8": _int8_proof(files.int8, made)})
    for sentence in made.verdict:
        say(sentence)
    return replace(result, int8=Int8Result(files.int8, files.plan, made))


def export_again(net: nn.Module, info: ArtifactInfo, form: Form) -> Proven:
    """The float32 artifact that a network gives now, made as ``info`` says, with its proof made anew.

    Raises:
        ExportError: ONNX Runtime does not give PyTorch's answers.
        FoldError: Folding changed the network.
    """
    fold_bn = info.batchnorm_folded > 0 or not any(k.reason == NOT_ASKED for k in info.batchnorm_kept)
    request = ExportRequest(
        info.model,
        info.classes,
        info.preprocessing,
        info.parent_sha256,
        fold_bn=fold_bn,
        scale_shift=any(map(is_scaled, info.batchnorm_kept)),
        input=info.input,
    )
    pictures = Pictures(np.zeros((0, *info.preprocessing.input_size, 3), np.uint8), np.zeros(0, np.int64))
    answers = _Answers.of(net, request, pictures)
    folding = fold_network(net, request, pictures, lambda _: None)
    model, folding = _export(folding, request, form, lambda _: None)
    return _prove(model, answers, folding, request)


def _write(path: Path, content: bytes, form: Form) -> None:
    """Writes a file, and reads it again to see that it is what it should be.

    Raises:
        ExportError: It is not.
    """
    graph.check_written(graph.write_model(path, content), form.opset, form.ir_version)


def _form_words(form: Form, machine: Target | None) -> str:
    written = f"opset {form.opset}, IR version {form.ir_version}: read by ONNX Runtime {oldest_runtime(form)} and newer"
    return written if machine is None else f"{machine.name} ({machine.processor}): {written}; {machine.advice}"


def _export(folding: Folding, request: ExportRequest, form: Form, say: Say) -> tuple[onnx.ModelProto, Folding]:
    """The file of a folded network; what the network had to keep is folded in the file where that is exact."""
    model = to_onnx(folding.module, request.preprocessing, request.input)
    if request.fold_bn and folding.kept:
        model, folding = fold_further(model, folding, request.scale_shift, say)
    model = lower(model, form)
    graph.check_written(model, form.opset, form.ir_version)
    return model, folding


def _prove(model: onnx.ModelProto, answers: _Answers, folding: Folding, request: ExportRequest) -> Proven:
    """Compares golden samples and pictures, and labels the model with what came out."""
    content, rule, kind = graph.to_bytes(model), request.preprocessing, request.input
    on_golden = parity.compare(content, golden_pixels(SEED, rule), answers.golden, rule, kind)
    proven = on_golden
    if answers.pictures is not None:
        proven = parity.compare(content, answers.images, answers.pictures, rule, kind)
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
            proven.max_abs_error,
            proven.top1_agreement,
            len(answers.images),
        ),
        cut=request.cut,
        golden=golden_of(on_golden.logits, SEED, max(on_golden.tolerance, tolerance_of(on_golden.logits))),
    )
    return Proven(*graph.attach(model, info))


def _options(request: ExportRequest, machine: Target | None, pictures: Pictures) -> Options:
    return Options(
        target=machine.arithmetic if machine else None,
        calibration=request.calibration,
        symmetry=request.symmetry,
        max_drop=request.max_drop,
        tuning=pictures.tuning,
    )


def _proof_of(out: Path, info: ArtifactInfo, folding: Folding, form: Form, machine: Target | None) -> dict[str, Any]:
    """What the proof file says of the float32 file."""
    proof = {"format": FORMAT, "artifact": out.name, "float32": info.to_dict()["proof"], "form": asdict(form)}
    if folding.proofs:
        proof["fold"] = folding.to_dict()
    if machine is not None:
        proof["target"] = asdict(machine)
    return proof


def _int8_proof(path: Path, made: Int8) -> dict[str, Any]:
    """What the proof file says of int8; the only place where timings are kept."""
    latency_s = {str(r.threads): {"float32": list(r.first_s), "int8": list(r.second_s)} for r in made.races}
    return {
        "artifact": path.name,
        **made.info.to_dict()["proof"],
        "top1": made.top1,
        "top1_float32": made.top1_float32,
        "plan": made.plan.describe(),
        "float_layers": list(made.plan.float_layers),
        "float_islands": made.islands,
        "float_islands_s": made.island_s,
        "drop_points": None if made.drop is None else made.drop.points,
        "drop_interval_points": None if made.drop is None else list(made.drop.interval),
        "max_drop_points": made.max_drop,
        "recommended": made.recommended,
        "recommended_by_threads": recommended_by_threads(made),
        "trace": made.trace,
        "speedup": made.speedup,
        "speedup_by_threads": made.speedups,
        "latency_s": latency_s.get("1"),
        "latency_s_by_threads": latency_s,
        "verdict": list(made.verdict),
    }


def _sentence(out: Path, info: ArtifactInfo) -> str:
    seen = f"{info.proof.images} real images" if info.proof.images else "the golden samples only (no real images given)"
    return (
        f"{out}: ONNX Runtime against PyTorch on {seen}: largest logit difference {info.proof.max_abs_error:.2e},"
        f" top-1 agreement {info.proof.top1_agreement:.4f}"
    )
