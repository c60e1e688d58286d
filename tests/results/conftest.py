from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A tiny artifact with right golden samples."""
    source = Path(__file__).parents[1] / "device" / "artifacts.py"
    spec = importlib.util.spec_from_file_location("artifacts", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.write(tmp_path / "tiny.onnx")
    assert isinstance(made, Path)
    return made
