"""Which shapes fit, told by chosen latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgexfer.results import Budget
from edgexfer.workflows import timed
from edgexfer.workflows.measuring import Measuring
from edgexfer.workflows.shapes import Shape
from edgexfer.workflows.timed import Latencies
from edgexfer.workflows.trace import Trace
from tests.heard import Heard
from tests.workflows import measured

MS = {"tiny-darknet-0.25": 9.9, "tiny-darknet-0.5": 10.1}


@pytest.fixture
def timed_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shape takes what ``MS`` says, and its files are tiny."""

    def untrained(shape: Shape, splits: Any, folder: Path, listener: Any, target: Any = None) -> dict[str, Path]:
        return {"float32": measured.artifact(folder / f"{shape.network}.onnx")}

    def measure(files: list[Path], how: Measuring, listener: Any) -> list[Path]:
        assert how.out is not None
        configs = [measured.config(path, MS[path.stem], swing=0.0) for path in files]
        return [measured.result(how.out / "here.json", *configs)]

    monkeypatch.setattr(timed, "untrained", untrained)
    monkeypatch.setattr(timed, "measure", measure)


def test_a_shape_may_take_the_whole_budget(timed_as_told: None, tmp_path: Path) -> None:
    shapes = [Shape(name, 32) for name in MS]
    latencies = Latencies(Trace(tmp_path, {}), Budget(latency_s=0.01), "p50")
    latencies.measure(shapes, None, Measuring(), Heard(), None)  # type: ignore[arg-type]
    assert latencies.fitting(shapes) == shapes[:1]
    (dropped,) = Trace(tmp_path, {}).all("drop")
    assert dropped["shape"] == "tiny-darknet-0.5@32" and dropped["reason"] == "over budget: latency by 1.0%"
