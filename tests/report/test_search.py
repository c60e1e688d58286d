"""The search for an int8 file as the page tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgexfer.report.records import Found, FoundArtifact
from edgexfer.report.search import searches


def artifact(proof: Any, precision: str = "int8") -> Found:
    info = {"precision": precision}
    path = Path("student.int8.onnx")
    one = FoundArtifact(path, path.name, "0" * 64, 1, info, {"int8": proof}, "student.proof.json")
    return Found(Path("."), artifacts=(one,))


def test_candidates_come_closest_first_and_the_closest_was_taken(make: Any) -> None:
    (found,) = searches(artifact(make.int8_proof("student.int8.onnx")))
    table = found.figures[0].table
    assert table is not None
    assert [row.name for row in table.rows][0] == "minmax, one scale a channel"
    assert [row.cells[1] for row in table.rows] == ["taken", "", ""]
    assert table.rows[2].cells[0].origin == "student.proof.json#/int8/trace/2/divergence"
    assert found.verdict == ["int8 is 1.83x faster than float32 here"]


def test_layers_come_by_what_they_gain_for_their_cost(make: Any) -> None:
    (found,) = searches(artifact(make.int8_proof("student.int8.onnx")))
    table = found.figures[1].table
    assert table is not None
    assert [row.name for row in table.rows] == ["conv 2", "conv 3"]


def test_what_was_tried_in_float32_says_what_it_did_and_what_was_kept(make: Any) -> None:
    (found,) = searches(artifact(make.int8_proof("student.int8.onnx")))
    assert found.kept is not None
    told = [(row.name, str(row.cells[0]), row.cells[1], str(row.cells[5]), row.cells[6]) for row in found.kept.rows]
    assert told == [
        ("conv 1", "1", "speed", "–", ""),
        ("conv 1 to conv 2", "2", "speed", "–", "kept so"),
        ("conv 1 to conv 3", "2", "speed", "–", ""),
        ("conv 1", "1", "accuracy", "2.30", ""),
        ("conv 1 to conv 2", "2", "accuracy", "0.40", "kept so"),
    ]
    assert found.kept.rows[0].cells[4].exact == pytest.approx(3.2 / 3.8, rel=1e-12)


@pytest.mark.parametrize(
    "proof",
    [None, {}, {"trace": None}, {"trace": [3]}, {"trace": [{"step": "candidate", "divergence": None}], "verdict": 3}],
)
def test_a_strange_trace_breaks_nothing(proof: Any) -> None:
    for found in searches(artifact(proof)):
        assert found.figures == [] and found.kept is None and found.verdict == []


def test_a_float32_file_was_not_searched_for(make: Any) -> None:
    found = artifact(make.int8_proof("student.int8.onnx"), precision="float32")
    assert searches(found) == []
    assert searches(replace(found, artifacts=())) == []
