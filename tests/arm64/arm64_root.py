"""Unpacks a small Debian with Python for another architecture, and the wheels a bundle needs: no board, no image.

``python -m tests.arm64.arm64_emulator`` prepares everything under ``.arm64/``, kept until its recipe changes:

- ``.arm64/<architecture>/root``: Debian packages, unpacked and never installed. apt resolves and downloads them with
  lists of its own, so that this machine's package database stays as it is;
- ``.arm64/<architecture>/wheels``: the wheel files, for a ``pip install`` inside the root;
- ``.arm64/<architecture>/site``: the same wheels unpacked, for Python to import.

Then it makes this kernel run arm64 programs; see ``arm64_emulator.py``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".arm64"
REQUIREMENTS = REPOSITORY / "docker" / "requirements-device.txt"
PACKAGES = ("python3-venv", "libstdc++6", "coreutils", "dash", "grep")
GLIBC = ("2_28", "2_27", "2_26", "2_17")


class UnavailableError(Exception):
    """Something this check stands on cannot be had here: what it is, and what to do."""


@dataclass(frozen=True)
class Architecture:
    """An architecture in the words of Debian and of the kernel (and so of wheels)."""

    debian: str
    machine: str


ARM64 = Architecture("arm64", "aarch64")
X86_64 = Architecture("amd64", "x86_64")


@dataclass(frozen=True)
class System:
    """An unpacked Debian of one architecture.

    Attributes:
        root: The folder to chroot into; it holds Python, but none of our wheels.
        wheels: Wheel files.
        site: The same wheels, unpacked.
        python: ``"3.11"``.
    """

    root: Path
    wheels: Path
    site: Path
    python: str

    @property
    def site_inside(self) -> str:
        """Where ``site`` is mounted, so that Python finds it by itself."""
        return f"/usr/local/lib/python{self.python}/dist-packages"


def build(architecture: Architecture, folder: Path = FOLDER, requirements: Path = REQUIREMENTS) -> System:
    """Unpacks Debian and the wheels for ``architecture``, or takes what an earlier call left.

    Raises:
        UnavailableError: apt or pip cannot be had, or does not give what is needed.
    """
    home = folder / architecture.debian
    stamp = home / "stamp"
    recipe = _recipe(architecture, requirements)
    if not (stamp.is_file() and stamp.read_text() == recipe):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        _unpack_debian(architecture, home)
        _unpack_wheels(architecture, home, requirements)
        stamp.write_text(recipe)
    return System(home / "root", home / "wheels", home / "site", _python_version(home / "root"))


def _recipe(architecture: Architecture, requirements: Path) -> str:
    parts = (architecture.debian, *PACKAGES, requirements.read_text(), Path(__file__).read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _unpack_debian(architecture: Architecture, home: Path) -> None:
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"'{tool}' is missing: the arm64 check unpacks Debian packages; run it on a Debian")
    apt = home / "apt"
    (apt / "state/lists/partial").mkdir(parents=True)
    (apt / "cache/archives/partial").mkdir(parents=True)
    (apt / "status").touch()
    options = [
        f"Dir::State={apt / 'state'}",
        f"Dir::Cache={apt / 'cache'}",
        f"Dir::State::status={apt / 'status'}",
        f"APT::Architecture={architecture.debian}",
        f"APT::Architectures={architecture.debian}",
        "APT::Install-Recommends=false",
        "APT::Sandbox::User=root",
    ]
    command = ["apt-get", "-q", "-y", *(f"-o{option}" for option in options)]
    remedy = f"check the network and that this machine's apt sources carry {architecture.debian}"
    call([*command, "update"], remedy)
    call([*command, "install", "--download-only", *PACKAGES], remedy)
    root = home / "root"
    root.mkdir()
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        call(["dpkg", "-x", str(package), str(root)], "remove .arm64 and run again")
    _finish(root)
    shutil.rmtree(apt)


def _finish(root: Path) -> None:
    """What Debian's maintainer scripts would have done, as far as Python needs it."""
    for name in ("lib", "bin"):
        if not (root / name).exists():  # releases after bookworm carry these links in another package
            (root / name).symlink_to(f"usr/{name}")
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    for name in ("proc", "dev", "tmp", "etc", "root"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")


def _unpack_wheels(architecture: Architecture, home: Path, requirements: Path) -> None:
    wheels, site = home / "wheels", home / "site"
    python = _python_version(home / "root")
    platforms = [f"--platform=manylinux_{version}_{architecture.machine}" for version in GLIBC]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", f"--python-version={python}", *platforms]
    remedy = f"check the network; {requirements.name} must name wheels for Python {python} on {architecture.machine}"
    call([*command, f"--dest={wheels}", f"--requirement={requirements}"], remedy)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _python_version(root: Path) -> str:
    return os.readlink(root / "usr/bin/python3").removeprefix("python")


def call(command: Sequence[str], remedy: str) -> None:
    """Runs a command of the preparation.

    Raises:
        UnavailableError: It failed; with the end of what it said, and ``remedy``.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        said = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise UnavailableError(f"{' '.join(command[:1])} failed ({said}); {remedy}")
