from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = "from onnx import helper, save; import onnx; v = helper.make_tensor_value_info; f = onnx.TensorProto.FLOAT; "
WRITE = TINY + (
    "g = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'g', [v('x', f, [1])], [v('y', f, [1])]); "
    "m = helper.make_model(g, opset_imports=[helper.make_opsetid('', 18)], ir_version=9); save(m, 'm.onnx'); "
)
OPENERS = {
    "export": "from edgexfer.export.runtime import open_session; open_session(open('m.onnx', 'rb').read())",
    "device": "from edgexfer.device import load; load('_edgexfer_runtime').open_model('m.onnx', 1)",
}


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
def test_usage_reports_are_off_before_onnxruntime_is_loaded(opener: str, tmp_path: Path) -> None:
    spy = (
        "import os, sys\n"
        "class Spy:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'onnxruntime': print('loaded with', os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Spy())\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", f"{spy}{WRITE}\n{opener}"],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["loaded with 1"]
