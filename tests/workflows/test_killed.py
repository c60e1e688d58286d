"""``kill -9`` at random moments, then the same command with ``--resume``: the weights of an undisturbed training."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from edgexfer.runs import WEIGHTS_FILE, is_run, read_lines
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data

EPOCHS = 12
KILLS = 6
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, image_size=32, lr=0.01, ema=0.9, mixup=0.5)


def train(kind: str, data: Path, net: str, teacher: Path, out: Path) -> None:
    target = Target(out, resume=True)
    if kind == "finetune":
        finetune_data(DataChoice(str(data)), Start(net), RECIPE, target, Silent())
    else:
        starts = [Start(str(teacher))]
        distill_data(DataChoice(str(data)), [Start(net)], starts, RECIPE, target, Silent(), Teaching(views=5))


def in_a_process_of_its_own(work: Callable[[], None], seconds: float | None) -> bool:
    """Runs ``work`` in a fork, killed after ``seconds``; whether it ended by itself."""

    def begin() -> None:
        torch.set_num_threads(1)
        importlib.import_module("edgexfer.training.fit").CHECKPOINT_SECONDS = 0.0
        work()

    child = multiprocessing.get_context("fork").Process(target=begin)
    child.start()
    child.join(seconds)
    if child.is_alive() and child.pid is not None:
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        return False
    assert child.exitcode == 0
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["finetune", "distill"])
def test_a_killed_training_ends_bit_for_bit_the_same(
    kind: str, colours: Path, small_net: str, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache of the whole one"))
    train(kind, colours, small_net, teacher, tmp_path / "whole")
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache of the killed one"))
    draw = random.Random(kind)
    out = tmp_path / "killed"
    kills = 0
    while not is_run(out) and kills < KILLS:
        kills += not in_a_process_of_its_own(
            lambda: train(kind, colours, small_net, teacher, out), draw.uniform(0.05, 0.8)
        )
    assert in_a_process_of_its_own(lambda: train(kind, colours, small_net, teacher, out), None)
    expected, found = load_file(tmp_path / "whole" / WEIGHTS_FILE), load_file(out / WEIGHTS_FILE)
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert [line["epoch"] for line in read_lines(out / "metrics.jsonl")] == list(range(1, EPOCHS + 1))
    assert kills > 0
