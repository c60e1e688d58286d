"""Who may import whom, as CONTRIBUTING.md tells it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "edgexfer"
GROUND = {
    "errors",
    "registry",
    "files",
    "preprocessing",
    "runs",
    "progress",
    "proportions",
    "version",
    "words",
    "torchvision_import",
    "onnxruntime_import",
}
ALLOWED = {
    **dict.fromkeys(GROUND, GROUND),
    "device": {"errors"},  # and its scripts nothing at all: tests/device/test_files_alone.py
    "data": GROUND,
    "nets": GROUND,
    "training": GROUND | {"data", "nets"},
    "transfer": GROUND | {"data", "nets", "training"},
    "fold": GROUND,
    "distill": GROUND | {"data", "nets", "training", "fold"},
    "export": GROUND | {"nets", "fold", "device"},
    "results": GROUND | {"device"},
    "report": GROUND | {"results", "device"},
    "classifier": GROUND | {"device"},
}
ROOMS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
ALLOWED["workflows"] = ROOMS - {"cli", "studies"}
ALLOWED["studies"] = ROOMS - {"cli"}
ALLOWED["cli"] = ROOMS
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "numpy", "sklearn", "matplotlib", "PIL")


def sources() -> list[Path]:
    return sorted(
        p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py") or p.parent != PACKAGE
    )


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "edgexfer":
            names = [f"edgexfer.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from (name.split(".")[1] for name in names if name.startswith("edgexfer."))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_stands_on(path: Path) -> None:
    room = room_of(path)
    if path == PACKAGE / "device" / "__init__.py":
        return  # stays behind: a bundle carries the other files of the room
    strangers = set(imported_rooms(path)) - ALLOWED[room] - {room}
    assert not strangers, f"{path.name} imports {sorted(strangers)}, which {room} may not"


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from click.testing import CliRunner\nfrom edgexfer.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['--help'])\nassert result.exit_code == 0, result.output"
    )
    assert loaded_by(code) == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import edgexfer") == set()


@pytest.mark.parametrize(
    "module",
    [
        "edgexfer.export.quantize",
        "edgexfer.export.fold_file",
        "edgexfer.report",
        "edgexfer.results",
        "edgexfer.classifier",
    ],
)
def test_what_reads_files_needs_no_torch(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"torch", "torchvision"}
