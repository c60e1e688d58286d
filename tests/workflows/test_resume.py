"""An interrupted training is gone on from with its own pictures and network, and refused with any other."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgexfer.errors import TrainingError, WouldOverwriteError
from edgexfer.runs import is_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard

RECIPE = Recipe(epochs=3, batch_size=8, lr=0.01, image_size=32)


class Cut(Silent):
    """Ends the training after its first epoch."""

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def checkpoints_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def net(small_net: str, tmp_path: Path) -> str:
    """The small network in a file of this test's own."""
    shutil.copy(small_net.removesuffix(":build"), tmp_path / "small.py")
    return f"{tmp_path / 'small.py'}:build"


def add_picture(folder: Path, name: str = "more.png") -> None:
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(11).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)


def test_other_pictures_another_split_or_another_network_are_refused(colours: Path, net: str, tmp_path: Path) -> None:
    data, out = tmp_path / "colours", tmp_path / "out"
    shutil.copytree(colours, data)

    def train(listener: Silent, start: str = net, mean: Any = None, **choice: Any) -> None:
        target = Target(out, resume=out.exists())
        finetune_data(DataChoice(str(data), **choice), Start(start, mean=mean), RECIPE, target, listener)

    with pytest.raises(KeyboardInterrupt):
        train(Cut())
    with pytest.raises(TrainingError, match="or how they are split; .*on the same pictures, or .*--force"):
        train(Silent(), val_split=0.3)
    with pytest.raises(TrainingError, match="model was 'small.py:build', now 'tiny-darknet'"):
        train(Silent(), "tiny-darknet")
    with pytest.raises(TrainingError, match=r"mean was \[0.485, 0.456, 0.406\], now \[0.5, 0.5, 0.5\]"):
        train(Silent(), mean=(0.5, 0.5, 0.5))
    add_picture(data / "red")
    with pytest.raises(TrainingError, match="the pictures have changed, or how they are split"):
        train(Silent())
    (data / "red" / "more.png").unlink()
    source = Path(net.removesuffix(":build"))
    before = source.read_text()
    source.write_text(before + "# changed\n")
    with pytest.raises(TrainingError, match="the file of the network has changed"):
        train(Silent())
    source.write_text(before)
    train(Silent())
    assert is_run(out)


def test_a_checkpoint_that_does_not_know_its_pictures_is_gone_on_from(colours: Path, net: str, tmp_path: Path) -> None:
    target, data = Target(tmp_path / "out", resume=True), DataChoice(str(colours))
    with pytest.raises(KeyboardInterrupt):
        finetune_data(data, Start(net), RECIPE, target, Cut())
    path = tmp_path / "out" / "resume" / "checkpoint.pt"
    value = torch.load(path, weights_only=True)
    for key in ("model", "model_sha256", "weights", "mean", "std", "splits_fingerprint", "train_pictures_sha256"):
        del value["settings"][key]
    torch.save(value, path)
    finetune_data(data, Start(net), RECIPE, target, Silent())
    assert is_run(tmp_path / "out")


def test_a_classifier_above_a_cut_knows_its_pictures_and_weights(
    colours: Path, net: str, teacher: Path, tmp_path: Path
) -> None:
    target, strategy = Target(tmp_path / "out", resume=True), Strategy("classifier", cut="2", views=1)

    def train(listener: Silent, weights: Path | str, **choice: Any) -> None:
        finetune_data(DataChoice(str(colours), **choice), Start(net, str(weights)), RECIPE, target, listener, strategy)

    with pytest.raises(KeyboardInterrupt):
        train(Cut(), teacher)
    with pytest.raises(TrainingError, match="how they are split"):
        train(Silent(), teacher, seed=1)
    with pytest.raises(TrainingError, match="weights was '[0-9a-f]{64}', now 'none'"):
        train(Silent(), "none")
    train(Silent(), teacher / "weights.safetensors")


def test_a_student_knows_the_unlabelled_pictures_that_it_learns_from(
    colours: Path, net: str, teacher: Path, tmp_path: Path
) -> None:
    target, more = Target(tmp_path / "out", resume=True), tmp_path / "more"

    def teach(listener: Silent) -> None:
        distill_data(
            DataChoice(str(colours)), [Start(net)], [Start(str(teacher))], RECIPE, target, listener,
            Teaching(unlabelled=more),
        )  # fmt: skip

    add_picture(more)
    with pytest.raises(KeyboardInterrupt):
        teach(Cut())
    (more / "more.png").unlink()
    pixels = np.random.default_rng(12).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(more / "other.png")
    with pytest.raises(TrainingError, match="pictures: the training pictures or their order have changed; repeat"):
        teach(Silent())


def test_a_teacher_whose_outputs_stand_for_other_classes_is_another_one(
    colours: Path, net: str, teacher: Path, tmp_path: Path
) -> None:
    target, own = Target(tmp_path / "out", resume=True), tmp_path / "teacher"
    shutil.copytree(teacher, own)

    def teach(listener: Silent) -> None:
        distill_data(
            DataChoice(str(colours)), [Start(net)], [Start(str(own))], RECIPE, target, listener,
            Teaching(allow_weak=True),
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        teach(Cut())
    run = json.loads((own / "run.json").read_text())
    run["classes"][:2] = reversed(run["classes"][:2])
    (own / "run.json").write_text(json.dumps(run))
    with pytest.raises(TrainingError, match="the outputs of the teachers stand for other classes; repeat"):
        teach(Silent())


def test_what_a_kill_after_the_last_file_left_is_removed(
    colours: Path, net: str, teacher: Path, tmp_path: Path
) -> None:
    out, recipe = tmp_path / "out", replace(RECIPE, epochs=1)
    places = [out, out / "hard-label-baseline"]

    def teach(listener: Silent, *, resume: bool) -> None:
        distill_data(
            DataChoice(str(colours)), [Start(net)], [Start(str(teacher))], recipe, Target(out, resume=resume),
            listener, Teaching(with_baseline=True),
        )  # fmt: skip

    def leave_over() -> None:
        for place in places:
            (place / "resume").mkdir()
            (place / "resume" / "checkpoint.pt").write_bytes(b"of a training that has ended")

    def left() -> list[bool]:
        return [(place / "resume").exists() for place in places]

    teach(Silent(), resume=False)
    leave_over()
    with pytest.raises(WouldOverwriteError, match="out' exists already; choose another --out or pass --force"):
        teach(Silent(), resume=False)
    assert left() == [False, True]
    heard = Heard()
    teach(heard, resume=True)
    assert heard.lines == [f"{str(out)!r} is finished already"] and left() == [False, False]
    (out / "run.json").unlink()
    leave_over()
    with pytest.raises(WouldOverwriteError, match="holds an interrupted training; pass --resume"):
        teach(Silent(), resume=False)
    assert left() == [True, True]
