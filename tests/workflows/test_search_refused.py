"""What is refused before a search begins, and that an old one stays as it is then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgexfer.errors import DataError, EdgexferError, FormatError, RecipeError, TeacherError, WouldOverwriteError
from edgexfer.results import Budget
from edgexfer.runs import read_lines
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.measuring import Measuring
from edgexfer.workflows.search import search
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.timed import Latencies
from edgexfer.workflows.train import Start
from tests.heard import Heard
from tests.workflows import measured


class Begun(Exception):
    """A search would measure now: nothing was refused."""


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> None:
        raise Begun

    monkeypatch.setattr(Latencies, "measure", measure)


@pytest.fixture
def plan(colours: Path, teacher: Path, small_net: str) -> SearchPlan:
    return SearchPlan(
        DataChoice(str(colours)), (Start(str(teacher)),), Budget(latency_s=1.0), networks=(small_net,), sizes=(24,)
    )


@pytest.fixture
def old(teacher: Path, tmp_path: Path) -> Path:
    """A finished search, with a teacher that was made on the way and a student."""
    folder = tmp_path / "search"
    shutil.copytree(teacher, folder / "teachers/0-resnet18")
    for name in ("trace.jsonl", "log.txt", "student.onnx"):
        (folder / name).write_text("")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def begin(plan: SearchPlan, out: Path, **options: Any) -> None:
    search(plan, out, Silent(), lambda _: None, **options)


Change = Callable[[SearchPlan, Path], SearchPlan]
ABSENT = "cuda" if torch.backends.mps.is_available() else "mps"  # no machine has both


@pytest.mark.parametrize(
    "change",
    [
        lambda plan, _: replace(plan, data=DataChoice("phtos")),
        lambda plan, _: replace(plan, teachers=(Start("runs/techer"),)),
        lambda plan, _: replace(plan, networks=("tiny-darknett",)),
        lambda plan, folder: replace(plan, networks=(f"{folder / 'nett.py'}:build",)),
        lambda plan, _: replace(plan, networks=("mlperf-resnet8+relu",)),
        lambda plan, _: replace(plan, target="raspberry-pi-6"),
        lambda plan, _: replace(plan, recipe=Recipe(device=ABSENT)),
    ],
)
def test_a_search_that_cannot_begin_removes_nothing(
    plan: SearchPlan, old: Path, tmp_path: Path, change: Change
) -> None:
    before, changed = files_of(old), change(plan, tmp_path)
    with pytest.raises(EdgexferError):
        begin(changed, old, force=True)
    assert files_of(old) == before


def test_what_a_search_reads_is_not_replaced(
    plan: SearchPlan, colours: Path, small_net: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, own = old / "teachers/0-resnet18", old / "net.py"
    shutil.copyfile(small_net.removesuffix(":build"), own)
    shutil.copytree(colours, old / ".photos")
    before = files_of(old)
    for reading in (
        replace(plan, teachers=(Start(str(made)),)),
        replace(plan, teachers=(Start(small_net, str(made / "weights.safetensors")),)),
        replace(plan, paths=(old / "student.onnx",)),
        replace(plan, data=DataChoice(str(old / ".photos"))),
        replace(plan, networks=(f"{own}:build",)),
        replace(plan, measuring=Measuring(ssh_config=old / "log.txt")),
    ):
        with pytest.raises(WouldOverwriteError, match=r"search' holds '.*', what this command reads, and --force"):
            begin(reading, old, force=True)
    monkeypatch.chdir(old)
    with pytest.raises(WouldOverwriteError, match="'.' is or holds the folder that this command runs in"):
        begin(plan, Path(), force=True)
    assert files_of(old) == before


def test_an_old_search_is_replaced_when_all_has_been_looked_at(plan: SearchPlan, old: Path) -> None:
    with pytest.raises(WouldOverwriteError, match="holds a search; pass --resume to go on, or --force to start again"):
        begin(plan, old)
    with pytest.raises(Begun):
        begin(plan, old, force=True)
    assert [path.name for path in old.iterdir()] == ["trace.jsonl"]
    (line,) = read_lines(old / "trace.jsonl")
    assert line["step"] == "begin"
    with pytest.raises(Begun):
        begin(replace(plan, sizes=(32,)), old)  # begun, and refused before anything was made


def test_no_search_begins_where_it_would_be_a_class(plan: SearchPlan, colours: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(colours, tmp_path / "photos"))
    with pytest.raises(DataError, match=r"search' lies among the pictures of .*photos', where it would count as a cl"):
        begin(replace(plan, data=DataChoice(str(photos))), photos / "search")
    assert not (photos / "search").exists()


def test_paths_that_cannot_be_chosen_from_are_met_before_anything_is_measured(
    plan: SearchPlan, old: Path, tmp_path: Path
) -> None:
    before = files_of(old)
    for paths in ((tmp_path / "exprted",), (tmp_path / "notes.txt",)):
        (tmp_path / "notes.txt").write_text("nothing to measure")
        with pytest.raises(FormatError, match="there is no '.*exprted'|notes.txt' is nothing that edgexfer makes"):
            begin(replace(plan, paths=paths), old, force=True)
    assert files_of(old) == before
    there = tmp_path / "there"
    measured.artifact(there / "animals.onnx", classes=("blue", "cat", "dog"))
    measured.artifact(there / "foreign.onnx", foreign=True)
    heard = Heard()
    with pytest.raises(Begun):
        search(replace(plan, paths=(there,)), tmp_path / "out", heard, lambda _: None)
    assert [line for line in heard.lines if "WARNING" in line] == [
        "WARNING left out: animals.onnx: its classes are not those of the data: it lacks green, red and also knows cat,"
        " dog",
        "WARNING left out: foreign.onnx: written by another program, so nothing tells what it classifies",
        f"WARNING there is no artifact of these classes in {there}",
    ]
    measured.artifact(there / "colours.onnx")
    again = Heard()
    with pytest.raises(Begun):
        search(replace(plan, paths=(there,)), tmp_path / "out", again, lambda _: None)
    assert [line for line in again.lines if "WARNING" in line] == heard.lines[:2]


def test_a_foreign_teacher_is_told_of_as_when_distilling(plan: SearchPlan, tmp_path: Path) -> None:
    path, names = measured.artifact(tmp_path / "f.onnx", foreign=True, kind="float"), tmp_path / "names.txt"
    foreign = replace(plan, teachers=(Start(str(path)),))
    with pytest.raises(TeacherError, match="carries no class names; pass --teacher-classes FILE"):
        begin(foreign, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    names.write_text("red\ngreen\nblue\n")
    named = replace(foreign, names_file=names)
    for _ in range(2):
        with pytest.raises(Begun):
            begin(named, tmp_path / "out", resume=True)
    with pytest.raises(RecipeError, match=r"was begun otherwise: teachers .*\[0.5, 0.5, 0.5\]"):
        begin(replace(named, teachers=(Start(str(path), mean=(0.5,) * 3),)), tmp_path / "out", resume=True)
    names.write_text("red\nblue\ngreen\n")
    with pytest.raises(RecipeError, match="was begun otherwise: teacher_classes"):
        begin(named, tmp_path / "out", resume=True)
    shutil.move(names, tmp_path / "out/names.txt")
    with pytest.raises(WouldOverwriteError, match=r"holds '.*names.txt', what this command reads"):
        begin(replace(named, names_file=tmp_path / "out/names.txt"), tmp_path / "out", force=True)
