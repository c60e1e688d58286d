from __future__ import annotations

from pathlib import Path

from edgexfer.report import proofs
from edgexfer.report.records import FoundArtifact


def test_the_error_of_folding_is_shown_layer_by_layer() -> None:
    path = Path("student.onnx")
    fold = {"max_rel_error": 3e-7, "layers": [{"name": "body.1", "rel_error_f64": 2.5e-16}, {"name": "body.4"}]}
    artifact = FoundArtifact(path, path.name, "0" * 64, 1, {}, {"format": 1, "fold": fold}, "student.proof.json")
    table = proofs._further(artifact)
    assert table is not None
    rows = {row.name: row.cells[0] for row in table.rows}
    assert list(rows)[1:] == [f"fold · relative error in float64 at body.{layer}" for layer in (1, 4)]
    first = rows["fold · relative error in float64 at body.1"]
    assert (first.text, first.origin) == ("2.5e-16", "student.proof.json#/fold/layers/0/rel_error_f64")
