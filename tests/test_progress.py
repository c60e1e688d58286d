"""The progress of a training: written often, read by others, and believed only while its process is there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgexfer.progress import (
    INTERRUPTED,
    SILENCE_S,
    Progress,
    born,
    progress_file,
    read_progress,
    write_progress,
)


def mine(**changes: object) -> Progress:
    pid = os.getpid()
    told = Progress(10, started=100.0, updated=160.0, pid=pid, born=born(pid), host=socket.gethostname())
    return replace(told, **changes)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_progress(tmp_path / "run", mine(step=3, steps=7, note="369 images/s"))
    assert read_progress(tmp_path / "run") == mine(step=3, steps=7, note="369 images/s")
    assert [p.name for p in (tmp_path / "run/resume").iterdir()] == ["progress.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"epochs": 3}'])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    assert read_progress(tmp_path) is None
    progress_file(tmp_path).parent.mkdir()
    progress_file(tmp_path).write_text(text)
    assert read_progress(tmp_path) is None


def test_a_folder_that_cannot_be_written_to_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    write_progress(tmp_path / "run", mine())
    assert (tmp_path / "run").read_text() == "a file"


def test_a_process_that_is_there_is_alive_and_one_that_ended_is_not() -> None:
    assert mine().is_alive()
    assert not mine(state=INTERRUPTED).is_alive()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not mine(pid=ended.pid, born=None).is_alive()


@pytest.mark.skipif(born(os.getpid()) is None, reason="this system does not tell when a process began")
def test_another_process_of_the_same_number_is_not_the_training() -> None:
    assert not mine(born=1).is_alive()


def test_another_machine_is_believed_for_a_while() -> None:
    elsewhere = mine(host="elsewhere", pid=1)
    assert elsewhere.is_alive(now=160.0 + SILENCE_S - 1)
    assert not elsewhere.is_alive(now=160.0 + SILENCE_S + 1)


def test_time_left_counts_from_whole_epochs_and_before_the_first_from_its_steps() -> None:
    assert mine().left_s() is None
    assert mine(step=30, steps=60).left_s() == pytest.approx(60 / 0.5 * 9.5, abs=1e-9)
    assert mine(epochs_done=4, step=15, steps=60, epoch_s=20.0).left_s() == pytest.approx(5.75 * 20, abs=1e-9)
    assert mine(epochs_done=10, epoch_s=20.0).left_s() == 0
