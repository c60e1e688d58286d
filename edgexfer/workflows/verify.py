"""``edgexfer verify``: an artifact against itself, and against the run or the file that it was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from edgexfer import nets
from edgexfer.errors import EdgexferError, ExportError
from edgexfer.export import graph
from edgexfer.export.differences import differences
from edgexfer.export.fold_file import fold_record
from edgexfer.export.metadata import ArtifactInfo, info_of
from edgexfer.export.plan import read_plan
from edgexfer.export.prepare import prepare
from edgexfer.export.request import Files
from edgexfer.export.targets import Form
from edgexfer.export.verify import verify
from edgexfer.files import sha256_file
from edgexfer.fold.onnxfile.folding import fold_graph
from edgexfer.fold.onnxfile.source import read_onnx
from edgexfer.runs import read_run, weights_sha256
from edgexfer.workflows.verify_int8 import against_again


def verify_artifact(path: Path, origin: Path | None = None) -> dict[str, Any]:
    """Recomputes the digest and the golden samples of an artifact and, with its origin, how it was made.

    Args:
        path: The ONNX file.
        origin: The run folder it was exported from (int8 too), the float32 file it was quantized from, or the file
            that was folded; ``None`` to look at the file alone.

    Raises:
        ExportError: Something does not agree; all of it is told.
    """
    found = verify(path)
    record = None if origin is None else fold_record(graph.load_model(path))
    if found.verified is None and record is None:
        raise ExportError(f"{str(path)!r} was not written by edgexfer: it promises nothing that could be verified")
    failures = list(found.failures)
    result: dict[str, Any] = {"artifact": str(path), "verified": True, "self_checked": found.verified is not None}
    if origin is not None:
        told, proof = _against(path, origin, record)
        failures += told
        result |= {"origin": str(origin), **proof}
    if failures:
        raise ExportError(f"{str(path)!r}: " + "; ".join(failures))
    return result


def _against(path: Path, origin: Path, record: dict[str, Any] | None) -> tuple[list[str], dict[str, Any]]:
    """What differs from what the origin gives now, and the figures of the proof."""
    model = graph.load_model(path)
    info = info_of(model, str(path))
    if origin.is_dir():
        if info is None:
            raise ExportError(f"{str(path)!r} was not exported from a run; name the ONNX file that was folded")
        return _against_run(path, model, info, origin)
    if info is not None and info.precision == "int8":
        return _against_float32(path, model, info, origin)
    promised = record["parent_sha256"] if record is not None else info.parent_sha256 if info is not None else ""
    failures = _parent(promised, sha256_file(origin), origin)
    shape, scaled = (record["input_shape"], bool(record["scaled"])) if record is not None else (None, False)
    folded = fold_graph(read_onnx(origin), input_shape=shape, scale_shift=scaled)
    return failures + differences(model, folded.model), {"fold_max_rel_error_f64": folded.proof.max_rel_error_f64}


def _parent(promised: str, found: str, origin: Path) -> list[str]:
    if promised == found:
        return []
    return [f"it was made of {promised[:12]}, {str(origin)!r} is {found[:12]}: other weights"]


def _against_run(
    path: Path, model: onnx.ModelProto, info: ArtifactInfo, folder: Path
) -> tuple[list[str], dict[str, Any]]:
    from edgexfer.export.exporter import export_again

    run, weights, int8 = read_run(folder), weights_sha256(folder), info.precision == "int8"
    failures = [] if int8 else _parent(info.parent_sha256, weights, folder)
    if info.classes != run.classes:
        failures.append(f"it knows the classes {', '.join(info.classes[:5])}, the run {', '.join(run.classes[:5])}")
    if info.preprocessing != run.preprocessing:
        failures.append(f"its preprocessing is {info.preprocessing.to_dict()}, the run's {run.preprocessing.to_dict()}")
    form = Form(model.opset_import[0].version, model.ir_version)
    try:
        again = export_again(nets.of_run(folder, run), replace(info, parent_sha256=weights), form)
    except EdgexferError as error:
        return [*failures, str(error)], {}
    proof = again.info.proof
    figures: dict[str, Any] = {"fold_max_rel_error_f64": proof.fold_max_rel_error_f64}
    if int8:
        compared = against_again(path, model, info, again)
        return [*failures, *compared.failures], figures | compared.to_dict()
    return failures + differences(model, again.model), figures | {"max_abs_error": proof.max_abs_error}


def _against_float32(
    path: Path, model: onnx.ModelProto, info: ArtifactInfo, origin: Path
) -> tuple[list[str], dict[str, Any]]:
    from edgexfer.export import qdq

    parent = graph.load_model(origin)
    failures = _parent(info.parent_sha256, sha256_file(origin), origin)
    exports = (Files.of_int8(path), Files.beside(origin))
    plans = [files.plan for files in exports if files is not None]
    plan_file = next((plan for plan in plans if plan.is_file()), plans[0])
    if not plan_file.is_file():
        return [*failures, f"there is no plan {str(plan_file)!r}, so that it cannot be made again to compare"], {}
    plan = read_plan(plan_file)
    parent_info = info_of(parent, str(origin))
    if parent_info is not None and plan.artifact_digest != parent_info.digest:
        failures.append(f"the plan {str(plan_file)!r} was made for another file")
    failures += differences(model, qdq.quantize(prepare(parent), plan))
    return failures, {"plan": plan.describe()}
