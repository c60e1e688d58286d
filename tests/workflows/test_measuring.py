"""What is measured on a device for a choice, and what of it is kept where a model fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgexfer.errors import DeviceError
from edgexfer.results import Budget, Outcome, run_bench
from edgexfer.workflows import measuring as measuring_module
from edgexfer.workflows.candidates import Wishes
from edgexfer.workflows.choose import choose_from
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.measuring import Measuring
from tests.heard import Heard
from tests.workflows.measured import bundled, full

QUICK = {"min_seconds": 0.02, "min_runs": 30}


def test_a_model_that_answers_wrongly_on_a_device_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundled(tmp_path / "b", full(tmp_path / "a.onnx"), full(tmp_path / "wrong.onnx", shift=3.0))

    def fleet(run: Any, devices: Any, tell: Any) -> list[Outcome]:
        run.out.mkdir(parents=True)
        out, how = run.out / "pi.json", {"threads": "1", "verify_only": False, "force": False, **QUICK}
        with pytest.raises(DeviceError, match="wrong answers"):
            run_bench(run.bundle, out=out, **how)
        return [Outcome("pi", devices[0].host, status, out, "'wrong.onnx' gives wrong answers on this machine")]

    monkeypatch.setattr(measuring_module, "run_fleet", fleet)
    status, listener = "failed", Heard()
    how = Measuring("pi", tmp_path / "out", **QUICK)
    found = choose_from([bundle], Budget(latency_s=1.0), Wishes(), listener, measuring=how)
    assert found.choice.chosen is not None and found.choice.chosen.path.name == "a.onnx"
    assert any("wrong" in told and "wrong answers" in told for told in found.gathered.left_out)
    assert "WARNING pi: 'wrong.onnx' gives wrong answers on this machine" in listener.lines
    status = "interrupted"
    with pytest.raises(DeviceError, match=r"pi gave no whole result \(interrupted\)"):
        choose_from([bundle], Budget(latency_s=1.0), Wishes(), Heard(), measuring=replace(how, out=tmp_path / "out2"))


def test_int8_of_another_file_goes_to_a_device_in_a_bundle_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = full(tmp_path / "new" / "a.onnx"), full(tmp_path / "old" / "a.onnx", shift=0.1)
    int8 = full(tmp_path / "old" / "a.int8.onnx", parent=old, precision="int8")
    groups: list[list[Path]] = []

    def make_bundle(group: list[Path], _: Any, out: Path, __: Any) -> Path:
        groups.append(list(group))
        return out

    monkeypatch.setattr(measuring_module, "make_bundle", make_bundle)
    how = Measuring("pi", data=DataChoice("digits"))
    measuring_module._bundles([int8, new, old], how, tmp_path, Heard())
    assert groups == [[int8, old], [new]]
