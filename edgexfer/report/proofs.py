"""The section on proofs: what each artifact was checked for before it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexfer.report.lineage import Lineage
from edgexfer.report.machines import flat, words
from edgexfer.report.measured import mapping, objects
from edgexfer.report.models import Naming
from edgexfer.report.records import Found, FoundArtifact
from edgexfer.report.tables import Row, Table
from edgexfer.report.values import Value, is_number, percent, plain, shown, small
from edgexfer.words import people_size

METADATA = "metadata"
NOT_TOLD = ("format", "artifact", "int8")
SHOWN_ELSEWHERE = ("trace", "artifact", "verdict", "layers")


@dataclass(frozen=True)
class ArtifactProof:
    """What an artifact says of itself, and what its proof file adds.

    Attributes:
        name: File name.
        label: Where it is.
        is_foreign: Whether it is no artifact of edgexfer.
        facts: Network, precision, input, size, parent.
        checks: The figures of the proof, each in words.
        kept: BatchNorms that were not folded, with reasons.
        further: What the proof file says.
    """

    name: str
    label: str
    is_foreign: bool
    facts: Table
    checks: Sequence[tuple[Any, str]]
    kept: Table | None
    further: Table | None


def proofs(found: Found, lineage: Lineage, naming: Naming) -> list[ArtifactProof]:
    """One entry an artifact."""
    return [_proof(artifact, lineage, naming) for artifact in found.artifacts]


def _proof(artifact: FoundArtifact, lineage: Lineage, naming: Naming) -> ArtifactProof:
    info = artifact.info or {}
    run = lineage.parents.get(artifact.sha256)
    kept = objects(mapping(info, "batchnorm"), "kept")
    return ArtifactProof(
        name=artifact.label.rsplit("/", 1)[-1],
        label=artifact.label,
        is_foreign=artifact.info is None,
        facts=_facts(artifact, naming.names[run.label] if run else None),
        checks=_checks(artifact) if artifact.info is not None else (),
        kept=_kept(kept) if kept else None,
        further=_further(artifact),
    )


def _facts(artifact: FoundArtifact, run_name: str | None) -> Table:
    info = artifact.info or {}
    shape = mapping(info, "preprocessing").get("input_size")
    rows = [
        Row("network", (words(info.get("model")),)),
        Row("precision", (words(info.get("precision")) + (f" for {info['target']}" if info.get("target") else ""),)),
        Row("input", (" × ".join(map(str, shape)) if isinstance(shape, list) else "–",)),
        Row("classes", (_count(info.get("classes"), f"{artifact.label}#{METADATA}/classes"),)),
        Row("file", (Value(people_size(artifact.size_bytes), artifact.size_bytes, f"{artifact.label} | bytes"),)),
        Row("came from", (run_name or words(info.get("parent_sha256")),)),
        Row("SHA-256", (artifact.sha256,)),
    ]
    return Table("The file", ("", ""), rows, frozenset({1}))


def _count(value: Any, origin: str) -> Value:
    return shown(len(value) if isinstance(value, list) else None, plain, f"{origin} | count")


def _checks(artifact: FoundArtifact) -> list[tuple[Any, str]]:
    """Each proof as ``(figure, sentence)``."""
    info = artifact.info or {}
    proof, batchnorm = mapping(info, "proof"), mapping(info, "batchnorm")
    origin = f"{artifact.label}#{METADATA}"
    folded, kept = batchnorm.get("folded"), objects(batchnorm, "kept")
    is_int8 = info.get("precision") == "int8"
    found: list[tuple[Any, str]] = []
    if isinstance(folded, int):
        value = Value(f"{folded} of {folded + len(kept)}", folded, f"{origin}/batchnorm/folded")
        found.append((value, "BatchNorms folded into the convolutions before them"))
    other = "the float32 artifact" if is_int8 else "PyTorch"
    images = proof.get("images")
    where = f"{images:,} real pictures" if isinstance(images, int) and images else "the golden samples alone"
    for key, write, sentence in (
        ("fold_max_rel_error_f64", small, "largest relative error of folding, computed in float64"),
        ("max_abs_error", small, f"largest difference of a logit between ONNX Runtime and {other}, on {where}"),
        ("top1_agreement", percent, f"of {where} get the same answer from both"),
    ):
        if proof.get(key) is not None:
            found.append((shown(proof[key], write, f"{origin}/proof/{key}"), sentence))
    golden = mapping(info, "golden")
    if golden.get("tolerance") is not None:
        value = shown(golden["tolerance"], small, f"{origin}/golden/tolerance")
        found.append((value, "is how far a device's logits may be off on the golden samples before it counts as wrong"))
    return found


def _kept(kept: Sequence[Mapping[str, Any]]) -> Table:
    rows = [Row(str(k.get("name", "")), (str(k.get("reason", "")),)) for k in kept]
    return Table("BatchNorms that were kept, and why", ("layer", "reason"), rows, frozenset({1}))


def _further(artifact: FoundArtifact) -> Table | None:
    """Everything that the proof file says of this file but what the metadata or a figure shows already."""
    int8 = artifact.int8_proof
    told = {"int8": int8} if int8 else {k: v for k, v in (artifact.proof or {}).items() if k not in NOT_TOLD}
    rows = [
        Row(
            name.removeprefix("int8 · ").replace("_", " "),
            (shown(v, plain, f"{artifact.proof_label}#{pointer}") if is_number(v) else words(v),),
        )
        for name, pointer, v in flat(told)
        if pointer.rsplit("/", 1)[-1] not in SHOWN_ELSEWHERE and "/latency_s" not in pointer
    ]
    for number, layer in enumerate(objects(mapping(told, "fold"), "layers")):
        pointer = f"{artifact.proof_label}#/fold/layers/{number}/rel_error_f64"
        name = f"fold · relative error in float64 at {words(layer.get('name'))}"
        rows.append(Row(name, (shown(layer.get("rel_error_f64"), small, pointer),)))
    return Table("What the proof file adds", ("", ""), rows, frozenset({1})) if rows else None
