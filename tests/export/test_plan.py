"""The plan of a quantization, written and followed again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgexfer.errors import FormatError, QuantizationError
from edgexfer.export.exporter import ExportResult
from edgexfer.export.plan import QuantizationPlan, read_plan, write_plan
from tests.export.nets import coloured


def test_the_plan_makes_the_same_bytes_again(quantized: tuple[ExportResult, list[str]]) -> None:
    result = quantized[0]
    assert result.int8 is not None
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from edgexfer.export import graph; from edgexfer.export.metadata import read_info\n"
        "from edgexfer.export.plan import read_plan; from edgexfer.export.quantize import *\n"
        "path = Path(sys.argv[1]); data = np.load(sys.argv[3])\n"
        "source = Source(graph.load_model(path), read_info(path), path.read_bytes())\n"
        "made = quantize(source, Witnesses(data['images'], data['labels']), (), plan=read_plan(Path(sys.argv[2])))\n"
        "Path(sys.argv[4]).write_bytes(made.content)\n"
        "print('torch' in sys.modules)"
    )
    images, labels = coloured(40, seed=5)
    folder = result.artifact.parent
    np.savez(folder / "w.npz", images=images, labels=labels)
    arguments = [result.artifact, result.int8.plan_file, folder / "w.npz", folder / "again.onnx"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    assert done.stdout.split()[-1] == "False"  # quantization never imports torch
    assert (folder / "again.onnx").read_bytes() == result.int8.artifact.read_bytes()


def test_plans_are_read_as_they_were_written(tmp_path: Path) -> None:
    plan = QuantizationPlan(
        "d", "arm64", "percentile 99.9", False, {"a": (-0.1, float(np.float32(2.3)))}, symmetric=True, balanced=True
    )
    path = tmp_path / "p.json"
    write_plan(path, plan)
    assert read_plan(path) == plan
    assert plan.describe() == (
        "symmetric int8 activations (percentile 99.9), balanced int8 weights, one scale a tensor, for arm64"
    )
    value = json.loads(path.read_text())
    path.write_text(json.dumps({name: part for name, part in value.items() if name not in ("symmetric", "balanced")}))
    assert not read_plan(path).symmetric and not read_plan(path).balanced  # plans had no choice before
    for change, message in (
        ({"target": "mips"}, "target 'mips'"),
        ({"method": "magic"}, "method 'magic'"),
        ({"per_channel": 1}, "per_channel 1"),
        ({"symmetric": "yes"}, "symmetric 'yes'"),
        ({"balanced": 0}, "balanced 0"),
        ({"ranges": {"a": [1, 0]}}, "incomplete or malformed"),
        ({"ranges": None}, "incomplete or malformed"),
        ({"ranges": {"a": [0, 10**400]}}, "incomplete or malformed"),
    ):
        path.write_text(json.dumps({**value, **change}))
        with pytest.raises(QuantizationError, match=message):
            read_plan(path)
    with pytest.raises(FormatError, match="cannot read the quantization plan"):
        read_plan(tmp_path / "none.json")
