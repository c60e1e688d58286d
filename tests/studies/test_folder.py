"""A study replaces what a study left, nothing else, and not before its pictures have been read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer.errors import DataError, WouldOverwriteError
from edgexfer.registry import Registry
from edgexfer.studies import running
from edgexfer.studies.catalogue import Entry
from edgexfer.studies.folder import check_folder
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.values import Claim, Lab, Study, Telling
from edgexfer.training import Silent
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start
from tests.heard import Heard

DIGITS = DataChoice("digits")


class Own(Entry):
    """A study that is measured at once."""

    def load(self) -> Study:
        return Study(
            _measure,
            lambda numbers: [Claim("It grows.", "How much", tuple(one["gain"] for one in numbers), "points", 0.01)],
            lambda _: Telling([], "seen", "written", "other"),
        )


def _measure(lab: Lab) -> dict[str, Any]:
    if lab.seed == 1:
        raise KeyboardInterrupt
    return {"gain": 0.1}


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a study is finished, with the work of a seed that was interrupted later."""
    registry: Registry[Entry] = Registry("study")
    registry.add("own", Own("own", "A study", 1, "none"))
    monkeypatch.setattr(running, "studies", lambda: registry)
    run_study("own", DIGITS, StudyTarget(tmp_path / "out"), Silent(), seeds=(0,))
    with pytest.raises(KeyboardInterrupt):
        run_study("own", DIGITS, StudyTarget(tmp_path / "out"), Silent(), seeds=(0, 1))
    return tmp_path / "out"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def forced(out: Path, data: DataChoice = DIGITS, seeds: tuple[int, ...] = (0,)) -> None:
    run_study("own", data, StudyTarget(out, force=True), Silent(), seeds=seeds, fast=True)


def test_a_study_is_replaced_with_its_seeds_and_their_work(out: Path) -> None:
    (out / "notes.txt").write_text("mine")
    (out / "seeds" / ".3.json.ab.part").touch()
    forced(out)
    assert sorted(files_of(out)) == ["notes.txt", "seeds/0.json", "study.html", "study.json"]
    assert '"fast": true' in (out / "study.json").read_text()


@pytest.mark.parametrize(
    "place", ["seeds/photo.jpg", "seeds/7.json", "work/photo.jpg", "work/2/photo.jpg", "work/photos/cat.jpg"]
)
def test_force_removes_nothing_that_no_study_left(out: Path, place: str) -> None:
    (out / place).parent.mkdir(exist_ok=True)
    (out / place).write_text("mine")
    before = files_of(out)
    with pytest.raises(WouldOverwriteError, match="was not left by a study.*choose another --out, or remove it"):
        forced(out)
    assert files_of(out) == before


@pytest.mark.parametrize("place", ["work/0/photo.jpg", "study.json", "study.html", "seeds"])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_another_is_left_as_it_is(out: Path, tmp_path: Path, place: str, force: bool) -> None:
    other = tmp_path / "other"
    (other / place).parent.mkdir(parents=True)
    (other / place).write_text("mine")
    with pytest.raises(WouldOverwriteError, match="was not left by a study"):
        run_study("own", DIGITS, StudyTarget(other, force=force), Silent(), seeds=(0,))
    assert list(files_of(other)) == [place]


def test_pictures_that_cannot_be_used_replace_nothing(out: Path, tmp_path: Path) -> None:
    before = files_of(out)
    with pytest.raises(DataError):
        forced(out, replace(DIGITS, source=str(tmp_path / "phtos")))
    assert files_of(out) == before


def test_what_a_study_reads_or_runs_in_is_not_replaced(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = out / "work" / "1" / "weights.safetensors"
    weights.touch()
    before = files_of(out)
    with pytest.raises(WouldOverwriteError, match="would be replaced, and '.*weights.safetensors' in it is what this"):
        check_folder(out, (0,), force=True, used=Start("own", str(weights)).paths())
    monkeypatch.chdir(weights.parent)
    with pytest.raises(WouldOverwriteError, match="would be replaced.*reads or runs in; choose another --out"):
        forced(out)
    assert files_of(out) == before


def test_a_study_names_the_pictures_that_it_leaves_out(out: Path, tmp_path: Path) -> None:
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    for name in ("dark", "light"):
        (photos / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(photos / name / f"{number}.png")
    (photos / "dark" / "broken.png").touch()
    heard = Heard()
    run_study("own", DataChoice(str(photos)), StudyTarget(tmp_path / "new"), heard, seeds=(0, 2))
    told = [line for line in heard.lines if "left out" in line]
    assert told == ["WARNING left out dark/broken.png: is empty (0 bytes)"]
