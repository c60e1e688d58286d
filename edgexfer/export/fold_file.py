"""BatchNorm folded in an ONNX file, ours or another program's, with its proof inside and beside it; no torch.

A file of edgexfer stays an artifact: its metadata says what is folded now, its golden answers are made anew and may
not be further from the old ones than their tolerance. How it was folded stands in one more metadata key,
``edgexfer.fold``, which a foreign file gets too: whoever has both files can fold the first again, and compare.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgexfer.errors import ExportError, FormatError
from edgexfer.export import figures, graph
from edgexfer.export.beside import remove_strangers
from edgexfer.export.golden import golden_of, tolerance_of
from edgexfer.export.metadata import ArtifactInfo, info_of
from edgexfer.export.request import Files
from edgexfer.export.verify import golden_logits
from edgexfer.files import FORMAT, refuse_overwrite, sha256_file, to_json, write_text
from edgexfer.fold.onnxfile.folding import FoldedGraph, fold_graph
from edgexfer.fold.onnxfile.source import read_onnx

FOLD_KEY = "edgexfer.fold"

Say = Callable[[str], None]


def fold_file(
    path: Path,
    out: Path,
    *,
    input_shape: Sequence[int] | None = None,
    scale_shift: bool = False,
    force: bool = False,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Folds the BatchNorms of the ONNX file ``path`` and writes ``out`` and ``<stem>.proof.json``.

    Args:
        path: Any ONNX file.
        out: The ``.onnx`` file to write.
        input_shape: Shape of the first input for the proof, where the file leaves it open.
        scale_shift: Make a product and a sum of each BatchNorm that no layer can take up.
        force: Replace files that exist.
        say: Takes each sentence of the talk.

    Returns:
        What ``edgexfer export --json`` prints.

    Raises:
        ExportError: ``out`` is not named like an ONNX file, or the folded artifact answers differently.
        FormatError: ``path`` is no ONNX file that can be read.
        FoldError: The fold could not be proven.
        WouldOverwriteError: A file exists and ``force`` is off.
    """
    files = Files.beside(out)
    if out.suffix != ".onnx":
        raise ExportError(f"the output is {str(out)!r}; expected a name that ends in .onnx")
    for target in (out, files.proof):
        refuse_overwrite(target, force)
    model = read_onnx(path)
    info = info_of(model, str(path))
    folded = fold_graph(model, input_shape=input_shape, scale_shift=scale_shift)
    for sentence in _sentences(folded):
        say(sentence)
    record = _record(path, folded, input_shape)
    labelled = _label(folded.model, record)
    made = labelled if info is None else _relabel(folded, labelled, info, record["parent_sha256"])
    layers = [{"name": name, "rel_error_f64": error} for name, error in folded.proof.layers]
    proof = to_json({"format": FORMAT, "artifact": out.name, "fold": {**record, "layers": layers}})
    content = graph.to_bytes(made)
    graph.write_model(out, content)
    if force:
        labels = info_of(made, str(out))
        remove_strangers(files, content, None if labels is None else labels.digest, say, read=[path])
    write_text(files.proof, proof + "\n")
    kept = [{"name": k.name, "reason": k.reason} for k in folded.plan.kept]
    return {
        "artifact": str(out),
        "batchnorm_folded": folded.plan.folded,
        "batchnorm_kept": kept,
        "batchnorm_scaled": folded.scaled,
        "max_rel_error_f64": folded.proof.max_rel_error_f64,
        "max_rel_error": folded.proof.max_rel_error_f32,
        "images": folded.proof.images,
    }


def _record(path: Path, folded: FoldedGraph, input_shape: Sequence[int] | None) -> dict[str, Any]:
    """What the file says of its folding, enough to fold its parent again; deterministic."""
    return {
        "format": FORMAT,
        "parent": path.name,
        "parent_sha256": sha256_file(path),
        "folded": folded.plan.folded,
        "scaled": folded.scaled,
        "kept": [{"name": k.name, "reason": k.reason} for k in folded.plan.kept],
        "max_rel_error_f64": folded.proof.max_rel_error_f64,
        "max_rel_error": folded.proof.max_rel_error_f32,
        "images": folded.proof.images,
        "input_shape": None if input_shape is None else list(input_shape),
    }


def _label(model: onnx.ModelProto, record: dict[str, Any]) -> onnx.ModelProto:
    """The folded model with our key beside its own metadata, all of which it keeps."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    others = [p for p in made.metadata_props if p.key != FOLD_KEY]
    del made.metadata_props[:]
    made.metadata_props.extend(others)
    text = json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    made.metadata_props.add(key=FOLD_KEY, value=text)
    return made


def _relabel(folded: FoldedGraph, labelled: onnx.ModelProto, info: ArtifactInfo, parent_sha256: str) -> onnx.ModelProto:
    """An artifact of edgexfer as an artifact again; its digest covers what is said of the folding.

    Raises:
        ExportError: It does not give the answers that the artifact promised.
    """
    logits = golden_logits(folded.model, info)
    error = figures.max_abs_error(logits, np.array(info.golden.logits))
    if error > info.golden.tolerance:
        raise ExportError(
            f"the folded file is off by {error:.3g} on the golden samples, allowed {info.golden.tolerance:.3g}; nothing"
            " was written"
        )
    rounding = info.golden.tolerance if info.precision == "int8" else 0.0
    changed = replace(
        info,
        parent_sha256=parent_sha256,
        batchnorm_folded=info.batchnorm_folded + folded.plan.folded,
        batchnorm_kept=folded.plan.kept,
        proof=replace(
            info.proof,
            fold_max_rel_error_f64=max(folded.proof.max_rel_error_f64, info.proof.fold_max_rel_error_f64 or 0.0),
            max_abs_error=info.proof.max_abs_error + error,
        ),
        golden=golden_of(logits, info.golden.seed, max(rounding, tolerance_of(logits))),
        digest="",
    )
    return graph.attach(labelled, changed)[0]


def fold_record(model: onnx.ModelProto) -> dict[str, Any] | None:
    """What a file says of its folding; ``None`` if it says nothing.

    Returns:
        ``parent_sha256``, how many BatchNorms were ``folded`` and ``scaled``, ``max_rel_error_f64``, and the
        ``input_shape`` that the proof was given, ``None`` where it was given none.

    Raises:
        FormatError: It says something that cannot be read.
    """
    texts = [p.value for p in model.metadata_props if p.key == FOLD_KEY]
    if not texts:
        return None
    try:
        value = json.loads(texts[0])
        known: dict[str, Any] = {key: value[key] for key in ("parent_sha256", "scaled", "folded", "max_rel_error_f64")}
        shape = value.get("input_shape")
        return {**known, "input_shape": None if shape is None else _sizes(shape)}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FormatError(f"the {FOLD_KEY!r} metadata is damaged ({error!r}); fold the file anew") from error


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(size, int) and 0 < size < 2**31 for size in value):
        raise ValueError(f"input_shape is {value!r}")
    return tuple(value)


def _sentences(folded: FoldedGraph) -> list[str]:
    plan, proof = folded.plan, folded.proof
    if not plan.total:
        return ["BatchNorm: the file holds none, nothing is folded"]
    told = f"BatchNorm: {plan.folded} of {plan.total} folded"
    if folded.scaled:
        told += f", {folded.scaled} made a product and a sum"
    if plan.folded or folded.scaled:
        told += (
            f"; largest relative error {proof.max_rel_error_f64:.1e} in float64 at {len(proof.layers)} places and end"
            f" to end, {proof.max_rel_error_f32:.1e} in the file's own precision ({proof.images} made-up inputs)"
        )
    return [told, *(f"  kept {entry.name}: {entry.reason}" for entry in plan.kept)]
