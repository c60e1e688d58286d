"""Reads one run, artifact, archive or result; networks are never loaded."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.errors import FormatError
from edgexfer.files import check_format, read_json
from edgexfer.report.records import FoundArtifact, FoundResult, FoundRun, Predictions
from edgexfer.runs import METRICS_FILE, PREDICTIONS_FILE, WEIGHTS_FILE, read_lines, read_run, weights_sha256

METADATA_KEY = "edgexfer"
MOST_ARCHIVED_BYTES = 2 << 30


def read_found_run(folder: Path, label: str) -> FoundRun:
    """Reads a run folder with its metrics and predictions.

    Raises:
        FormatError: ``run.json``, ``metrics.jsonl`` or ``predictions.jsonl`` is damaged.
    """
    run = read_run(folder)
    if not run.classes or not isinstance(run.scores, Mapping) or not isinstance(run.recipe, Mapping):
        raise FormatError(f"the run {str(folder)!r} is incomplete: run.json names no classes, scores or recipe")
    return FoundRun(
        folder=folder,
        label=label,
        run=run,
        weights_sha256=weights_sha256(folder) if (folder / WEIGHTS_FILE).is_file() else None,
        metrics=tuple(read_lines(folder / METRICS_FILE)),
        predictions=read_predictions(folder / PREDICTIONS_FILE, len(run.classes)),
    )


def read_predictions(path: Path, classes: int) -> Predictions | None:
    """Reads the test lines of ``predictions.jsonl``, or the val lines where there are none.

    Args:
        path: The file.
        classes: K; a line with another number of logits, or with one that is not finite, is left out and counted.
    """
    if not path.is_file():
        return None
    lines = read_lines(path)
    for split in ("test", "val"):
        mine = [line for line in lines if line.get("split") == split]
        good = [line for line in mine if _is_prediction(line, classes)]
        if good:
            return Predictions(
                split=split,
                files=tuple(str(line["file"]) for line in good),
                labels=np.array([line["label"] for line in good], dtype=np.int64),
                logits=np.array([line["logits"] for line in good], dtype=np.float64),
                skipped=len(mine) - len(good),
            )
    return None


def _is_prediction(line: Mapping[str, Any], classes: int) -> bool:
    label, logits = line.get("label"), line.get("logits")
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < classes:
        return False
    if not isinstance(logits, list) or len(logits) != classes or "file" not in line:
        return False
    return all(isinstance(v, int | float) and abs(v) <= sys.float_info.max for v in logits)


def read_artifact(path: Path, label: str) -> FoundArtifact:
    """Reads the metadata of an ONNX file and the proof beside it.

    Raises:
        FormatError: It is not ONNX, or its metadata or proof is damaged.
    """
    proof, content = proof_of(path), path.read_bytes()
    return FoundArtifact(
        path=path,
        label=label,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        info=read_metadata(content, str(path)),
        proof=read_json(proof, "proof") if proof is not None else None,
        proof_label=label.removesuffix(path.name) + proof.name if proof is not None else "",
    )


def proof_of(path: Path) -> Path | None:
    """The proof file of an ONNX file; an int8 file's stands in that of the float32 file it was made from."""
    for stem in (path.stem, path.stem.removesuffix(".int8")):
        proof = path.with_name(f"{stem}.proof.json")
        if proof.is_file():
            return proof
    return None


def read_metadata(content: bytes, where: str) -> Mapping[str, Any] | None:
    """The ``edgexfer`` metadata of an ONNX file's bytes; ``None`` for a foreign file.

    Raises:
        FormatError: The bytes are not ONNX, or the metadata is damaged or newer.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises its own kinds, one a backend
        raise FormatError(f"{where!r} is not an ONNX file, or a damaged one ({type(error).__name__})") from error
    if not model.HasField("graph"):
        raise FormatError(f"{where!r} is not an ONNX file: it holds no graph")
    texts = [p.value for p in model.metadata_props if p.key == METADATA_KEY]
    if not texts:
        return None
    try:
        value = json.loads(texts[0])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the metadata of {where!r} is not valid JSON ({error}); export it anew") from error
    if not isinstance(value, dict):
        raise FormatError(f"the metadata of {where!r} holds {type(value).__name__} where an object is expected")
    check_format(value, "artifact", where)
    return value


def read_archive(path: Path, label: str) -> list[FoundArtifact]:
    """Reads the models of a bundle that is one ``.tar.gz``; nothing is unpacked.

    Raises:
        FormatError: It is not such an archive, or holds no model.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            found = list(_archived(archive, path, label))
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, RecursionError) as error:
        raise FormatError(f"{str(path)!r} is not a bundle that can be read: {error}; make it anew") from error
    if not found:
        raise FormatError(f"{str(path)!r} is not a bundle: it holds no .onnx file")
    return found


def _archived(archive: tarfile.TarFile, path: Path, label: str) -> Iterator[FoundArtifact]:
    for member in archive:
        if not (member.isfile() and member.name.endswith(".onnx") and member.size < MOST_ARCHIVED_BYTES):
            continue
        stream = archive.extractfile(member)
        if stream is None:
            continue
        content = stream.read()
        yield FoundArtifact(
            path=path,
            label=f"{label}/{member.name.removeprefix('./')}",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            info=read_metadata(content, f"{path}/{member.name}"),
            proof=None,
        )


def read_result(path: Path, label: str, *, strict: bool) -> FoundResult | None:
    """Reads a benchmark result.

    Args:
        path: The file.
        label: How the page calls it.
        strict: Whether a JSON file that is no result is an error; else it is passed over.

    Raises:
        FormatError: It is damaged or newer, or (when ``strict``) no benchmark result.
    """
    if not strict and not _looks_like_result(path):
        return None
    value = read_json(path, "benchmark result")
    configs = value.get("configs")
    if not isinstance(configs, list) or not all(isinstance(c, dict) for c in configs):
        raise FormatError(f"{str(path)!r} is not a benchmark result: it holds no list of 'configs'")
    for number, config in enumerate(configs):
        latency = config.get("latency_s", [])
        if not isinstance(latency, list) or not all(isinstance(v, int | float) and 0 <= v < 1e9 for v in latency):
            raise FormatError(
                f"the benchmark result {str(path)!r} is malformed: configs[{number}].latency_s is not a list of seconds"
            )
    return FoundResult(path, label, value)


def _looks_like_result(path: Path) -> bool:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "configs" in value and "format" in value
