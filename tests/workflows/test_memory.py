"""Memory that runs out on the device is an error in one line, wherever that happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from edgexfer.cli.main import cli


def full(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 139.80 GiB.")


TRAINS = "lower --batch-size or --image-size"


@pytest.mark.parametrize(
    ("place", "words", "remedy"),
    [
        (
            "edgexfer.training.job.fit",
            lambda data, net, run, out: ["finetune", data, "--model", net, "--epochs", 1, "--out", out],
            TRAINS,
        ),
        (
            "edgexfer.transfer.classifier.fit_students_head",
            lambda data, net, run, out: [
                "finetune", data, "--model", net, "--weights", run, "--strategy", "classifier", "--out", out
            ],
            TRAINS,
        ),
        (
            "edgexfer.workflows.distill.check_teachers",
            lambda data, net, run, out: ["distill", data, "--teacher", run, "--student", net, "--out", out],
            TRAINS,
        ),
        (
            "edgexfer.workflows.advise.advise",
            lambda data, net, run, out: ["advise", data, "--model", net, "--weights", run],
            "lower --image-size or pass --device cpu",
        ),
        (
            "edgexfer.transfer.classifier.fit_students_head",
            lambda data, net, run, out: ["advise", data, "--model", net, "--weights", run, "--verify"],
            "lower --image-size or pass --device cpu",
        ),
        (
            "edgexfer.workflows.evaluate.predict_view",
            lambda data, net, run, out: ["evaluate", run, data],
            "set CUDA_VISIBLE_DEVICES= to compute on the processor",
        ),
    ],
    ids=["a training", "a classifier", "a teacher", "advice", "advice that is verified", "evaluating"],
)  # fmt: skip
def test_memory_that_runs_out_is_told_in_one_line(
    place: str,
    words: Callable[..., list[Any]],
    remedy: str,
    colours: Path,
    small_net: str,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, full)
    done = CliRunner().invoke(cli, list(map(str, words(colours, small_net, teacher, tmp_path / "out"))))
    assert done.exit_code == 1
    told = f"memory ran out, where it was to allocate 20.00 MiB more: {remedy}, or end what else takes memory"
    assert done.stderr.splitlines()[-1] == f"Error: {told}"
