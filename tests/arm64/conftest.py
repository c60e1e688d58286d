"""The systems and the bundle these tests run on; each made once, by ``make test-arm64`` or the first test that asks."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arm64 import arm64_emulator, arm64_root

OWN = "EDGEXFER_BUNDLE"  # a bundle of the user's to check instead of the one made here
COMMANDS = (
    "finetune digits --model tiny-darknet --epochs 2 --seed 0 --out run",
    "export run --fold-bn --int8 --target x86 --out x86.onnx",
    "export run --fold-bn --int8 --target arm64 --out arm64.onnx",
    "bundle x86.onnx x86.int8.onnx arm64.int8.onnx --data digits --samples 16 --out bundle",
)


@pytest.fixture(scope="session")
def board() -> arm64_root.System:
    arm64_emulator.enable()
    return arm64_root.build(arm64_root.ARM64)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A bundle as the command line makes it: Tiny-darknet on digits, float32 and both kinds of int8."""
    if OWN in os.environ:
        return Path(os.environ[OWN]).resolve()
    alone = worker_id == "master"
    home = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    with (home / "bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers share one
        made = home / "made"
        if not (made / "bundle" / "bundle.json").is_file():
            made.mkdir()
            for command in COMMANDS:
                edgexfer(command, made)
    return made / "bundle"


def edgexfer(command: str, folder: Path) -> None:
    """Runs a command of edgexfer in ``folder``."""
    words = [sys.executable, "-m", "edgexfer", *command.split()]
    variables = {**os.environ, "PYTHONPATH": str(arm64_root.REPOSITORY)}
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"edgexfer {command}: {done.stdout}{done.stderr}"
