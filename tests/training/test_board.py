"""What TensorBoard is told, read back with its own reader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgexfer.cli.main import cli
from edgexfer.errors import TrainingError
from edgexfer.runs import read_lines
from edgexfer.training import Silent
from edgexfer.training.board import with_board


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def line(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1 / epoch, "val_top1": 0.1 * epoch, "lr": 0.01, "odd": epoch, **more}


def test_each_epoch_is_read_back(tmp_path: Path) -> None:
    with with_board(tmp_path / "board", tmp_path / "runs/a", Silent()) as told:
        told.training(tmp_path / "runs/a/teachers/0", 2)
        told.epoch(line(1, note="words", flag=True, nothing=None))
        told.training(tmp_path / "runs/a", 2)
        told.epoch(line(1))
        told.epoch(line(2, soft_loss=0.5))
    assert scalars(tmp_path / "board/a/teachers/0")["accuracy/validation"] == [(1, pytest.approx(0.1, abs=1e-7))]
    found = scalars(tmp_path / "board/a")
    assert set(found) == {
        "loss/train",
        "accuracy/validation",
        "training/learning rate",
        "training/odd",
        "loss/soft term",
    }
    assert found["loss/train"] == [(1, 1.0), (2, 0.5)]
    assert found["loss/soft term"] == [(2, 0.5)]


def test_what_a_resumed_training_repeats_is_replaced(tmp_path: Path) -> None:
    for epochs in ((1, 2, 3), (2, 3, 4)):  # killed after 3, gone on from the checkpoint of 1
        with with_board(tmp_path / "board", tmp_path / "a", Silent()) as told:
            told.training(tmp_path / "a", 4)
            for epoch in epochs:
                told.epoch(line(epoch, val_top1=0.1 * epoch + (0.01 if epochs[0] == 2 else 0)))
    wanted = [(1, 0.1), (2, 0.21), (3, 0.31), (4, 0.41)]
    assert scalars(tmp_path / "board/a")["accuracy/validation"] == [(s, pytest.approx(v, abs=1e-6)) for s, v in wanted]


def test_no_board_writes_nothing(tmp_path: Path) -> None:
    listener = Silent()
    with with_board(None, tmp_path / "a", listener) as told:
        assert told is listener
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    message = r"needs the package tensorboard, .*pip install 'edgexfer\[tensorboard\]'"
    with pytest.raises(TrainingError, match=message), with_board(tmp_path, tmp_path / "a", Silent()):
        pass
    out = tmp_path / "run"
    asked = ["finetune", "digits", "--model", "mlperf-resnet8", "--out", str(out), "--tensorboard"]
    result = CliRunner().invoke(cli, asked, prog_name="edgexfer")
    assert result.exit_code == 1 and "edgexfer[tensorboard]" in result.stderr
    assert not out.exists()


def test_a_training_from_the_command_line_is_logged_beside_its_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    asked = ["finetune", "digits", "--model", "mlperf-resnet8", "--epochs", "1", "--out", str(out), "--tensorboard"]
    asked += ["--image-size", "16", "--batch-size", "256", "--augment", "none", "--precision", "float32"]
    result = CliRunner().invoke(cli, asked, prog_name="edgexfer")
    assert result.exit_code == 0, result.output
    found = scalars(out / "tensorboard/run")
    told = read_lines(out / "metrics.jsonl")
    assert found["accuracy/validation"] == [(m["epoch"], pytest.approx(m["val_top1"], rel=1e-6)) for m in told]
    assert found["loss/train"] == [(m["epoch"], pytest.approx(m["train_loss"], rel=1e-6)) for m in told]
