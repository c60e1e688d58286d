"""A disk that fills while a training writes: one line that names the remedy, and nothing that was good is lost."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgexfer.errors import TrainingError
from edgexfer.runs import METRICS_FILE, PREDICTIONS_FILE, RUN_FILE, WEIGHTS_FILE, is_run
from edgexfer.training import Recipe, Silent
from edgexfer.training.checkpoint import CHECKPOINT_FILE, written_safely
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data

resource = pytest.importorskip("resource")
EPOCHS = 3
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, lr=0.01, image_size=32, precision="float32")
ROOM_BYTES = 3_000
"""Enough for the metrics, too little for checkpoint and weights."""


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Filling(Silent):
    """Lets no file grow any more from the end of an epoch on."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        if metrics["epoch"] == self._epoch:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize(("epoch", "file"), [(EPOCHS - 1, f"resume/{CHECKPOINT_FILE}"), (EPOCHS, "last.safetensors")])
def test_a_full_disk_names_the_remedy_and_the_training_goes_on_to_the_same_weights(
    epoch: int, file: str, colours: Path, small_net: str, tmp_path: Path
) -> None:
    def train(out: Path, listener: Silent) -> None:
        finetune_data(DataChoice(str(colours)), Start(small_net), RECIPE, Target(out, resume=True), listener)

    train(tmp_path / "whole", Silent())
    out, limit = tmp_path / "cut", resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(
        TrainingError, match=rf"^cannot write '.*{file}' \(.+\); free space .* with --resume, which goes on"
    ):
        train(out, Filling(epoch))
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not is_run(out) and (out / "resume" / CHECKPOINT_FILE).stat().st_size > ROOM_BYTES
    assert not list(out.rglob("*.part"))
    train(out, Silent())
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("file", [METRICS_FILE, PREDICTIONS_FILE, RUN_FILE])
def test_every_other_file_of_a_run_says_the_same(file: str, colours: Path, small_net: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / file).mkdir(parents=True)  # a folder in its place, where no file can be written
    target = Target(out, resume=True)
    with pytest.raises(TrainingError, match=rf"cannot write '.*{file}' \(.*directory.*\); free space"):
        finetune_data(DataChoice(str(colours)), Start(small_net), RECIPE, target, Silent())


@pytest.mark.parametrize("error", [KeyError("layer"), RuntimeError("CUDA out of memory")])
def test_other_errors_stay_as_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, written_safely(tmp_path):
        raise error
    assert caught.value is error
