"""What an export leaves beside its float32 file, and what it removes there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from torch import nn

from edgexfer.errors import QuantizationError, WouldOverwriteError
from edgexfer.export import graph
from edgexfer.export.exporter import ExportResult, Pictures, export_network
from edgexfer.export.fold_file import fold_file
from edgexfer.export.plan import read_plan
from edgexfer.workflows.verify import verify_artifact
from tests.export.nets import SmallNet, coloured, pictures_for, request_for, trained

NAMES = {"small.onnx", "small.proof.json", "small.int8.onnx", "small.plan.json"}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return trained()


@pytest.fixture
def pictures() -> Pictures:
    return Pictures(*coloured(40, seed=5))


@pytest.fixture
def out(quantized: tuple[ExportResult, list[str]], tmp_path: Path) -> Path:
    """The float32 file of an export with int8, in a folder of its own."""
    for name in NAMES:
        shutil.copy(quantized[0].artifact.parent / name, tmp_path / name)
    return tmp_path / "small.onnx"


def names(out: Path) -> set[str]:
    return {path.name for path in out.parent.iterdir()}


def test_int8_goes_with_the_file_that_it_was_made_of(out: Path) -> None:
    said: list[str] = []
    export_network(SmallNet(), request_for(force=True), out, pictures=pictures_for(), say=said.append)
    assert names(out) == {"small.onnx", "small.proof.json"}
    assert "removed small.int8.onnx and small.plan.json, made of the small.onnx that was here before" in said


def test_int8_stays_beside_the_file_that_it_was_made_of(out: Path, net: nn.Module, pictures: Pictures) -> None:
    before = out.read_bytes()
    export_network(net, request_for(force=True), out, pictures=pictures)
    assert out.read_bytes() == before and names(out) == NAMES


def test_int8_goes_where_no_new_one_can_be_made_and_the_plan_that_was_read_stays(out: Path) -> None:
    plan = out.with_name("small.plan.json")
    before = plan.read_bytes()
    with pytest.raises(QuantizationError, match="the plan was made for the artifact"):
        export_network(SmallNet(), request_for(int8=True, force=True, plan=plan), out, pictures=pictures_for())
    assert names(out) == NAMES - {"small.int8.onnx"} and plan.read_bytes() == before


def test_an_int8_file_that_is_there_is_not_left_beside_another_one(out: Path) -> None:
    out.unlink()
    out.with_name("small.proof.json").unlink()
    with pytest.raises(WouldOverwriteError, match=r"small\.int8\.onnx' exists already"):
        export_network(SmallNet(), request_for(), out, pictures=pictures_for())
    assert not out.exists()


def test_files_of_others_stay(out: Path) -> None:
    int8, plan = out.with_name("small.int8.onnx"), out.with_name("small.plan.json")
    model = graph.load_model(int8)
    del model.metadata_props[:]
    int8.write_bytes(model.SerializeToString())
    plan.write_text("{}")
    export_network(SmallNet(), request_for(force=True), out, pictures=pictures_for())
    assert names(out) == NAMES and plan.read_text() == "{}"


def test_the_plan_that_was_followed_lies_beside(out: Path, net: nn.Module, pictures: Pictures, tmp_path: Path) -> None:
    mine, again = tmp_path / "mine.json", tmp_path / "again.onnx"
    out.with_name("small.plan.json").rename(mine)
    made = export_network(net, request_for(int8=True, target="x86", plan=mine), again, pictures=pictures).int8
    assert made is not None and made.plan_file == tmp_path / "again.plan.json"
    assert read_plan(made.plan_file) == read_plan(mine)
    assert made.artifact.read_bytes() == out.with_name("small.int8.onnx").read_bytes()
    assert verify_artifact(made.artifact, again)["verified"] is True
    for path in (again, tmp_path / "again.proof.json", made.artifact):
        path.unlink()
    with pytest.raises(WouldOverwriteError, match=r"again\.plan\.json' exists already"):
        export_network(net, request_for(int8=True, target="x86", plan=mine), again, pictures=pictures)
    export_network(net, request_for(int8=True, target="x86", plan=made.plan_file), again, pictures=pictures)
    assert made.artifact.is_file() and read_plan(made.plan_file) == read_plan(mine)


def test_a_folded_file_takes_the_place_of_all_that_was_there(
    unfolded: tuple[nn.Module, ExportResult], out: Path
) -> None:
    said: list[str] = []
    fold_file(unfolded[1].artifact, out, force=True, say=said.append)
    assert names(out) == {"small.onnx", "small.proof.json"}
    assert "removed small.int8.onnx and small.plan.json, made of the small.onnx that was here before" in said
