"""``kill -9`` at random moments, then the same command with ``--resume``: the weights of an undisturbed training."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from edgexfer.runs import RESUME_FOLDER, WEIGHTS_FILE, is_run, read_lines
from edgexfer.training import Recipe, Silent
from edgexfer.training.checkpoint import CHECKPOINT_FILE
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data

EPOCHS = 12
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, image_size=32, lr=0.01, ema=0.9, mixup=0.5)


class Telling(Silent):
    """Tells of what was resumed and of each epoch, whose checkpoint is written by then.

    One that is to be killed waits for it before the last epoch: however busy the machine is, it does not end first.
    """

    def __init__(self, to: Connection, *, ends: bool) -> None:
        self._to = to
        self._ends = ends

    def say(self, text: str) -> None:
        if text.startswith("resumed after epoch "):
            self._to.send(text)

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        self._to.send(metrics["epoch"])
        if metrics["epoch"] >= EPOCHS - 1 and not self._ends:
            threading.Event().wait()


def train(kind: str, data: Path, net: str, teacher: Path, out: Path, listener: Silent) -> None:
    target = Target(out, resume=True)
    if kind == "finetune":
        finetune_data(DataChoice(str(data)), Start(net), RECIPE, target, listener)
    else:
        starts = [Start(str(teacher))]
        distill_data(DataChoice(str(data)), [Start(net)], starts, RECIPE, target, listener, Teaching(views=5))


def told_by_a_process_of_its_own(
    work: Callable[[Silent], None], *, killed_after: int | None = None, seconds: float = 0.0
) -> list[Any]:
    """What ``work`` tells in a fork, killed some time after it has told of so many epochs; else it ends by itself."""
    mine, theirs = multiprocessing.Pipe(duplex=False)

    def begin() -> None:
        torch.set_num_threads(1)
        importlib.import_module("edgexfer.training.fit").CHECKPOINT_SECONDS = 0.0
        work(Telling(theirs, ends=killed_after is None))

    child = multiprocessing.get_context("fork").Process(target=begin)
    child.start()
    theirs.close()
    told: list[Any] = []
    with contextlib.suppress(EOFError):
        while killed_after is None or (
            len(epochs := [n for n in told if isinstance(n, int)]) < killed_after and EPOCHS - 1 not in epochs
        ):
            told.append(mine.recv())
        child.join(seconds)
        os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    assert child.exitcode == (0 if killed_after is None else -signal.SIGKILL)
    return told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["finetune", "distill"])
def test_a_killed_training_ends_bit_for_bit_the_same(
    kind: str, colours: Path, small_net: str, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache of the whole one"))
    train(kind, colours, small_net, teacher, tmp_path / "whole", Silent())
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache of the killed one"))
    draw = random.Random(kind)
    out = tmp_path / "killed"

    def work(listener: Silent) -> None:
        train(kind, colours, small_net, teacher, out, listener)

    attempts, done = [], 0
    while done < EPOCHS - 2:
        told = told_by_a_process_of_its_own(work, killed_after=draw.randint(1, 2), seconds=draw.uniform(0, 0.05))
        assert (out / RESUME_FOLDER / CHECKPOINT_FILE).is_file() and not is_run(out)
        attempts.append(told)
        done = told[-1]
    attempts.append(told_by_a_process_of_its_own(work))
    assert isinstance(attempts[0][0], int) and len(attempts) > 2
    for before, told in pairwise(attempts):
        epoch = int(told[0].removeprefix("resumed after epoch ").partition(" ")[0])
        assert epoch >= before[-1] and told[1:] == list(range(epoch + 1, epoch + len(told)))
    expected, found = load_file(tmp_path / "whole" / WEIGHTS_FILE), load_file(out / WEIGHTS_FILE)
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert [line["epoch"] for line in read_lines(out / "metrics.jsonl")] == list(range(1, EPOCHS + 1))
