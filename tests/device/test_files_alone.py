"""The device's files keep to what a board has."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgexfer import device
from tests.device.device_kit import Script

PYTHON_FILES = [p for p in device.bundle_files() if p.suffix == ".py"]
SETUP = device.script("setup.sh")
ALLOWED = (
    sys.stdlib_module_names
    | {"numpy", "onnxruntime", "PIL", "openvino", "picamera2", "cv2"}
    | {p.stem for p in PYTHON_FILES}
)


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: p.name)
def test_a_file_is_python_3_9_and_imports_only_what_a_board_has(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported: set[str] = set()
    for node in ast.walk(tree):
        assert type(node).__name__ not in ("Match", "TryStar", "TypeAlias"), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            imported.add(node.module.split(".")[0])
    assert imported <= ALLOWED
    assert "tomllib" not in imported
    assert path.name not in {f"{name}.py" for name in sys.stdlib_module_names}


def test_every_file_of_a_bundle_is_there() -> None:
    assert all(path.is_file() for path in device.bundle_files())
    assert {"bench.py", "predict.py", "adapt.py", "setup.sh", "README.txt"} <= {p.name for p in device.bundle_files()}


@pytest.mark.skipif(shutil.which("dash") is None, reason="needs dash")
def test_setup_is_a_script_that_dash_reads() -> None:
    assert os.access(SETUP, os.X_OK)
    subprocess.run(["dash", "-n", str(SETUP)], check=True)


def fake_python(folder: Path, body: str) -> Path:
    """A python3 that answers setup.sh's questions as ``body`` says; ``$2`` is the question."""
    path = folder / "python3"
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{body}\n*) exit 0;;\nesac\n')
    path.chmod(0o755)
    return path


def set_up(bundle: Path, python: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(bundle / "setup.sh")]
    environment = {**os.environ, "PYTHON": str(python)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("*version_info*) exit 1;; -V) echo Python 3.7.3;;", "Python 3.7.3 is too old, 3.9 is needed"),
        ("*calcsize*) exit 1;;", "install the 64-bit Raspberry Pi OS"),
        ("*ensurepip*) exit 1;;", "this Python has no venv module; install it: sudo apt install python3-venv"),
        ("*'-m venv'*) exit 1;;", "could not be made"),
        (
            '*"-m venv"*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python";; *"pip install"*|*"import numpy"*) exit 1;;',
            "could not be installed; is the network reachable",
        ),
    ],
)
def test_setup_says_what_is_missing(bundle: Path, tmp_path: Path, body: str, says: str) -> None:
    done = set_up(bundle, fake_python(tmp_path, body))
    assert done.returncode == 1
    assert says in done.stderr


def test_setup_without_any_python(bundle: Path, tmp_path: Path) -> None:
    done = set_up(bundle, tmp_path / "none")
    assert done.returncode == 1
    assert "install it: sudo apt install python3 python3-venv" in done.stderr


def test_setup_does_its_work_once(bundle: Path, tmp_path: Path) -> None:
    body = (
        '*"-m venv"*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python";;\n'
        f'*"pip install"*) echo "$*" >> {tmp_path}/installed;;\n'
        f'*"import numpy"*) test -f {tmp_path}/installed;;'
    )
    python = fake_python(tmp_path, body)
    first, second = set_up(bundle, python), set_up(bundle, python)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "is ready already" in second.stderr
    (line,) = (tmp_path / "installed").read_text().splitlines()
    assert line.endswith("--only-binary=:all: --upgrade numpy onnxruntime Pillow")


def test_setup_lets_the_system_s_packages_in_where_asked(bundle: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    body = (
        f'*"-m venv"*) echo "$*" >> {asked}; for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python";;'
    )
    python = fake_python(tmp_path, body)
    for variables in ({}, {"SYSTEM_PACKAGES": "1"}):
        environment = {**os.environ, "PYTHON": str(python), **variables}
        subprocess.run(["sh", str(bundle / "setup.sh")], env=environment, check=True, capture_output=True, timeout=60)
    assert asked.read_text().splitlines() == [
        f"-m venv {bundle}/.venv",
        f"-m venv --system-site-packages {bundle}/.venv",
    ]


def test_setup_leaves_the_system_s_numpy_where_its_packages_are_let_in(bundle: Path, tmp_path: Path) -> None:
    """What the system has, such as picamera2, was built for that numpy: a newer one in front of it breaks that."""
    installed = tmp_path / "installed"
    body = (
        '*"-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python";;\n'
        f'*"pip install"*) echo "$*" >> {installed};;\n'
        f'*"import numpy"*) test -f {installed};;'
    )
    environment = {**os.environ, "PYTHON": str(fake_python(tmp_path, body)), "SYSTEM_PACKAGES": "1"}
    subprocess.run(["sh", str(bundle / "setup.sh")], env=environment, check=True, capture_output=True, timeout=60)
    (line,) = installed.read_text().splitlines()
    assert line.endswith("--only-binary=:all: numpy>=1.22 onnxruntime Pillow>=9.1")


def test_scripts_start_again_in_the_private_environment(bundle: Path, tmp_path: Path) -> None:
    """A Python without the packages, as a fresh board has it, finds ``.venv``."""
    bare = [sys.executable, "-I", "-S"]  # no site-packages
    done = subprocess.run([*bare, str(bundle / "predict.py"), "x.png"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "numpy, onnxruntime, Pillow missing" in done.stderr and "setup.sh once" in done.stderr
    (bundle / ".venv/bin").mkdir(parents=True)
    private = bundle / ".venv/bin/python"
    private.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    private.chmod(0o755)
    done = subprocess.run(
        [*bare, str(bundle / "bench.py"), "--verify-only", "--out", str(tmp_path / "r.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.json").is_file()


def test_the_private_environment_goes_before_the_system_s_packages(bundle: Path, tmp_path: Path) -> None:
    """The system of a board may have an onnxruntime that is too old for the models."""
    old = tmp_path / "system"
    for name in ("numpy", "onnxruntime", "PIL"):
        (old / name).mkdir(parents=True)
        (old / name / "__init__.py").write_text("raise ImportError('an old one')\n")
    system = [sys.executable, "-S", str(bundle / "bench.py"), "--verify-only", "--out"]
    variables = {**os.environ, "PYTHONPATH": str(old)}
    done = subprocess.run([*system, str(tmp_path / "old.json")], env=variables, capture_output=True, text=True)
    assert done.returncode != 0 and "an old one" in done.stderr
    (bundle / ".venv/bin").mkdir(parents=True)
    private = bundle / ".venv/bin/python"
    private.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{sys.executable}" "$@"\n')
    private.chmod(0o755)
    done = subprocess.run([*system, str(tmp_path / "r.json")], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.json").is_file()


def test_an_environment_that_was_chosen_is_left_for_no_other(bundle: Path, run_script: Script) -> None:
    if sys.prefix == sys.base_prefix:
        pytest.skip("needs a virtual environment")
    (bundle / ".venv/bin").mkdir(parents=True)
    private = bundle / ".venv/bin/python"
    private.write_text("#!/bin/sh\nexit 7\n")
    private.chmod(0o755)
    assert run_script(bundle / "bench.py", "--verify-only").returncode == 0
