"""Where a training stands, from its folder alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgexfer.errors import FormatError
from edgexfer.progress import Progress, write_progress
from edgexfer.runs import write_lines
from edgexfer.workflows.watch import BETWEEN, FINISHED, INTERRUPTED, RUNNING, WAITING, look
from tests.workflows.trainings import dead, finished, running


def metrics(epochs: int) -> list[dict[str, Any]]:
    return [
        {"epoch": e, "val_top1": 0.5 + 0.1 * (e == 2), "val_loss": 1.0, "train_loss": 1.0} for e in range(1, epochs + 1)
    ]


def test_a_run_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    assert look(tmp_path / "run").state == WAITING
    (tmp_path / "run").mkdir()
    assert look(tmp_path / "run").state == WAITING


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FormatError, match="is a file; name the run folder"):
        look(tmp_path / "run.json")


def test_a_running_training_tells_its_epochs_and_its_best(tmp_path: Path) -> None:
    running(tmp_path / "run", metrics(3))
    seen = look(tmp_path / "run")
    assert seen.state == RUNNING and seen.epochs_done == 3
    assert seen.best is not None and seen.best["epoch"] == 2
    assert seen.to_dict()["val_top1"] == pytest.approx(0.6, abs=1e-12)


def test_a_resumed_training_counts_the_epochs_before(tmp_path: Path) -> None:
    running(tmp_path / "run", metrics(3))
    running(tmp_path / "run", metrics(3))
    write_progress(tmp_path / "run", look(tmp_path / "run").progress or Progress(0))
    seen = look(tmp_path / "run")
    assert seen.progress is not None and seen.progress.epochs_done == 3


def test_a_dead_training_was_interrupted(tmp_path: Path) -> None:
    running(tmp_path / "run", metrics(3), pid=dead())
    assert look(tmp_path / "run").state == INTERRUPTED


def test_a_finished_run_is_finished(tmp_path: Path) -> None:
    finished(tmp_path / "run", metrics(4))
    seen = look(tmp_path / "run")
    assert (seen.state, seen.model, seen.epochs_done) == (FINISHED, "tiny-darknet", 4)


def test_a_teacher_made_on_the_way_is_shown_and_what_comes_after_it_is_waited_for(tmp_path: Path) -> None:
    out, teacher = tmp_path / "run", tmp_path / "run/teachers/0-resnet18"
    running(teacher, metrics(3))
    assert (look(out).state, look(out).run) == (RUNNING, teacher)
    finished(teacher, metrics(4))
    assert look(out, os.getpid()).state == BETWEEN
    assert look(out, dead()).state == INTERRUPTED  # the student was wanted, and is not there
    running(out, metrics(3))
    assert (look(out).state, look(out).run) == (RUNNING, out)


def test_several_students_are_finished_when_their_process_is(tmp_path: Path) -> None:
    finished(tmp_path / "runs/a", metrics(4))
    running(tmp_path / "runs/b", metrics(3))
    assert look(tmp_path / "runs").run == tmp_path / "runs/b"
    finished(tmp_path / "runs/b", metrics(4))
    assert look(tmp_path / "runs", os.getpid()).state == BETWEEN
    seen = look(tmp_path / "runs", dead())
    assert seen.state == FINISHED and seen.finished == (tmp_path / "runs/a", tmp_path / "runs/b")


def test_a_damaged_metrics_file_hides_no_progress(tmp_path: Path) -> None:
    running(tmp_path / "run", metrics(3))
    (tmp_path / "run/metrics.jsonl").write_text("{")
    assert look(tmp_path / "run").state == RUNNING
    write_lines(tmp_path / "run/metrics.jsonl", [{"epoch": 1}])
    assert look(tmp_path / "run").best is None
