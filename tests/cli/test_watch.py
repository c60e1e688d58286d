"""``edgexfer watch`` on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from edgexfer.cli import watch
from edgexfer.cli.curve import curve
from edgexfer.cli.main import cli
from edgexfer.workflows.watch import look
from tests.workflows.trainings import dead, finished, running

LINE = {"val_loss": 1.0, "train_loss": 0.4312, "lr": 0.0123, "waiting_share": 0.03}
METRICS = [{"epoch": e, "val_top1": v, **LINE} for e, v in enumerate((0.2, 0.6, 0.912, 0.9), 1)]


def begun(run: Path, lines: list[dict[str, Any]] = METRICS, **changes: Any) -> None:
    told = {"step": 30, "steps": 120, "note": "369 images/s, 3 s left in this epoch", "epoch_s": 20.0, **changes}
    running(run, lines, **told)


def drawn(run: Path, *, encoding: str = "utf-8", width: int = 100) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(watch.drawn(look(run), console))
    return captured.get()


def test_a_terminal_shows_where_it_is_and_a_curve(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    text = drawn(tmp_path / "run")
    assert text.startswith("training ") and "4 of 10 done" in text and "step 30 of 120, 369 images/s" in text
    for name, value in (
        ("loss", "0.4312"), ("validation", "90.00%"), ("best so far", "91.20% (epoch 3)"),
        ("learning rate", "0.0123"), ("waiting for data", "3%"), ("left", "2 min at most"),
    ):  # fmt: skip
        assert any(line.split() == [*name.split(), *value.split()] for line in text.splitlines()), name
    assert "  91.2% ⠀" in text and "validation by epoch, 1 to 4" in text


def test_a_terminal_without_unicode_has_no_curve(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    assert "by epoch" not in drawn(tmp_path / "run", encoding="ascii")


@pytest.mark.parametrize("width", [30, 200])
def test_it_fits_a_narrow_terminal_and_a_wide_one(tmp_path: Path, width: int) -> None:
    begun(tmp_path / "run")
    assert max(map(len, drawn(tmp_path / "run", width=width).splitlines())) <= width


def test_the_best_weights_being_scored_is_said(tmp_path: Path) -> None:
    begun(tmp_path / "run", state="ending")
    assert drawn(tmp_path / "run").startswith("scoring the best weights of ")


def test_an_interrupted_training_is_an_error_that_says_how_to_go_on(tmp_path: Path) -> None:
    begun(tmp_path / "run", pid=dead())
    result = CliRunner().invoke(cli, ["watch", str(tmp_path / "run")], prog_name="edgexfer")
    assert result.exit_code == 1 and result.stdout == ""
    assert "was interrupted after epoch 4/10; repeat its command with --resume" in result.stderr
    assert result.stderr.startswith("interrupted after epoch 4/10: ")


def test_a_pipe_hears_each_epoch_once_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    acts = iter(
        [
            lambda: begun(run, METRICS[:1]),
            lambda: begun(run, METRICS[:1], step=60),
            lambda: begun(run, METRICS[:2]),
            lambda: finished(run),
        ]
    )
    monkeypatch.setattr(watch.time, "sleep", lambda _: next(acts)())
    result = CliRunner().invoke(cli, ["watch", str(run), "--json"], prog_name="edgexfer")
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"waiting for a training to begin in {run}",
        f"training {run}",
        "epoch 1/10",
        "epoch 2/10",
        f"finished {run}, tiny-darknet, best 60.00% (epoch 2)",
    ]
    assert "loss 0.4312  validation 60.00%  best so far 60.00% (epoch 2)  learning rate 0.0123" in lines[3]
    told = json.loads(result.stdout)
    assert (told["state"], told["epochs_done"], told["val_top1"]) == ("finished", 2, 0.6)


def test_a_terminal_is_drawn_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    begun(run, METRICS[:2])
    monkeypatch.setattr(watch.time, "sleep", lambda _: finished(run))
    result = CliRunner(env={"TTY_COMPATIBLE": "1"}).invoke(cli, ["watch", str(run)], prog_name="edgexfer")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run}\n"
    first, _, last = result.stderr.partition("2 of 10 done")
    assert "training " in first and "finished " in last and "left" not in last.partition("finished ")[2]


def test_looking_loads_no_torch() -> None:
    code = "import sys; import edgexfer.cli.watch, edgexfer.workflows.watch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_curve_rises_from_the_left_bottom_to_the_right_top() -> None:
    lines = curve([0.0, 1.0], 4, 2)
    assert len(lines) == 2
    assert lines[1].startswith("⡀") or lines[1][0] in "⡀⡠⣀"
    assert lines[0].rstrip("⠀")[-1] in "⠁⠉⠊⠋⠈"


def test_a_curve_keeps_its_size_for_any_values() -> None:
    for values in ([], [1.0], [2.0] * 5, [float(i % 7) for i in range(1000)]):
        lines = curve(values, 20, 3)
        assert len(lines) == 3 and max(map(len, lines)) <= 20
    assert curve([], 20, 3) == ["", "", ""]
