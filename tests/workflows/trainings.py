"""Folders of trainings that go on, were interrupted or are finished, as ``edgexfer watch`` finds them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgexfer.preprocessing import square
from edgexfer.progress import Progress, born, write_progress
from edgexfer.runs import Run, write_lines, write_run


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def running(run: Path, metrics: Sequence[dict[str, Any]], pid: int | None = None, **progress: Any) -> None:
    """A training of 10 epochs in the process ``pid`` (this one), with a line of metrics for each one done."""
    run.mkdir(parents=True, exist_ok=True)
    write_lines(run / "metrics.jsonl", metrics)
    pid, now = os.getpid() if pid is None else pid, time.time()
    told = {"started": now, "updated": now, **progress}
    write_progress(run, Progress(10, len(metrics), pid=pid, born=born(pid), host=socket.gethostname(), **told))


def finished(run: Path, metrics: Sequence[dict[str, Any]] = ()) -> None:
    """A training that has ended well, perhaps one that went on before."""
    shutil.rmtree(run / "resume", ignore_errors=True)
    run.mkdir(parents=True, exist_ok=True)
    if metrics:
        write_lines(run / "metrics.jsonl", metrics)
    write_run(run, Run("tiny-darknet", ("a", "b"), square(8), "f", 0, {}, (), {"val_top1": 0.6}))
