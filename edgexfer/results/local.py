"""The device's own benchmark script, run on this machine."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
from pathlib import Path

from edgexfer.device import script
from edgexfer.errors import DeviceError
from edgexfer.files import refuse_overwrite
from edgexfer.version import __version__


def run_bench(
    target: Path,
    *,
    out: Path | None,
    min_seconds: float,
    min_runs: int,
    threads: str,
    verify_only: bool,
    force: bool,
) -> Path:
    """Verifies and times a model or bundle in a process of its own; its table goes to stderr.

    Returns:
        The result file.

    Raises:
        WouldOverwriteError: ``out`` exists and ``force`` is off.
        DeviceError: The target cannot be run, or gives wrong answers; the result file says which.
    """
    created = datetime.datetime.now(datetime.UTC)
    made = out or Path(f"bench-{socket.gethostname()}-{created:%Y%m%dT%H%M%SZ}.json")
    refuse_overwrite(made, force)
    if made.parent != Path():
        made.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, str(script("bench.py")), str(target), "--out", str(made), "--threads", threads]
    words += ["--min-seconds", str(min_seconds), "--min-runs", str(min_runs)]
    words += ["--verify-only"] * verify_only + ["--force"] * force
    env = {**os.environ, "EDGEXFER_VERSION": __version__}
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise DeviceError(said[-1].removeprefix("error: ") if said else f"bench.py ended with code {done.returncode}")
    return made
