"""What the tests of measuring on other devices share beside their fixtures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edgexfer.device import bundle_files as device_files
from edgexfer.files import sha256_file
from edgexfer.results import Device, FleetRun, Outcome, run_fleet
from tests.device import artifacts
from tests.results import sshd

needs_sshd = pytest.mark.skipif(sshd.SERVER is None, reason=sshd.MISSING)
QUICK = ("--threads", "1", "--min-seconds", "0.02", "--min-runs", "20", "--rounds", "1")
RETRIES_S = (0.2, 0.2, 0.2)


def made_bundle(folder: Path, shift: float = 0.0, setup: str = "touch ready") -> Path:
    folder.mkdir()
    for file in device_files():
        shutil.copy(file, folder)
    (folder / "setup.sh").write_text(f"#!/bin/sh\n{setup}\n")  # the real one needs the network
    artifacts.write(folder / "models/tiny.onnx", shift=shift)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {name: sha256_file(folder / name) for name in names}
    (folder / "bundle.json").write_text(json.dumps({"format": 1, "edgexfer_version": "9.8.7", "files": files}))
    return folder


class Fleet:
    """Devices in folders of their own, and what was told of them."""

    def __init__(self, home: Path, bundle: Path, servers: dict[str, sshd.Server], wrong: tuple[str, ...] = ()) -> None:
        self.home, self.out, self.bundle = home, home / "out", bundle
        self.config = sshd.client_config(home / "ssh_config", servers, wrong)
        self.told: list[tuple[str, str, str]] = []
        self.events: dict[tuple[str, str], threading.Event] = {}

    def device(self, name: str, python: str = 'exec {python} "$@"') -> Device:
        script = self.home / f"python-{name}"
        script.write_text("#!/bin/sh\n" + python.format(python=sys.executable) + "\n")
        script.chmod(0o755)
        return Device(name, name, str(self.home / name / "edgexfer-bench"), str(script))

    def tell(self, name: str, state: str, what: str) -> None:
        self.told.append((name, state, what))
        self.event(name, state).set()

    def event(self, name: str, state: str) -> threading.Event:
        return self.events.setdefault((name, state), threading.Event())

    def states(self, name: str) -> list[str]:
        return list(dict.fromkeys(state for told, state, _ in self.told if told == name))

    def run(self, *devices: Device, **how: Any) -> dict[str, Outcome]:
        run = FleetRun(self.bundle, self.out, QUICK, config=self.config, **how)
        return {outcome.name: outcome for outcome in run_fleet(run, devices, self.tell, RETRIES_S)}


def begun_command(fleet: Fleet, *devices: Device, options: tuple[str, ...] = QUICK) -> subprocess.Popen[str]:
    """``edgexfer bench --fleet`` in a process of its own."""
    entry = "[[device]]\nhost = '{d.host}'\ndir = '{d.folder}'\npython = '{d.python}'\n"
    (fleet.home / "devices.toml").write_text("".join(entry.format(d=device) for device in devices))
    words = ["bench", str(fleet.bundle), "--fleet", str(fleet.home / "devices.toml"), "--out", str(fleet.out)]
    words += ["--ssh-config", str(fleet.config), *options]
    command = [sys.executable, "-m", "edgexfer", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
