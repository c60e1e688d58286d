"""Distilling and fine-tuning in two processes: one run, written by one of them, and gone on from exactly."""

from __future__ import annotations

import importlib
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgexfer.distill import Hint, Objective, from_run
from edgexfer.errors import TrainingError, WouldOverwriteError
from edgexfer.files import read_json
from edgexfer.runs import WEIGHTS_FILE, is_run, read_lines, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.training.ranks import Ranks
from edgexfer.transfer import Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import DistillResult, Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data, prepare_start
from tests.heard import Heard
from tests.together import Together, together

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
EPOCHS, KILLS = 8, 3
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, image_size=32, lr=0.01, ema=0.9, mixup=0.5)


def distilled(data: Path, net: str, teacher: str, out: Path, **wishes: object) -> tuple[DistillResult, list[str]]:
    heard, teaching = Heard(), Teaching(**{"views": 3, **wishes})  # type: ignore[arg-type]
    target = Target(out, resume=True)
    (result,) = distill_data(DataChoice(str(data)), [Start(net)], [Start(teacher)], RECIPE, target, heard, teaching)
    return result, heard.lines


def test_one_run_comes_of_two_processes(
    colours: Path, small_net: str, teacher: Path, tmp_path: Path, own_cache: Path
) -> None:
    found = together(2, lambda _: distilled(colours, small_net, str(teacher), tmp_path / "out", with_baseline=True))
    (first, heard), (second, _) = found
    run = read_run(tmp_path / "out")
    assert first.student == second.student == run and first.baseline == second.baseline
    assert run.recipe["processes"] == 2 and first.gain() is not None
    assert [line["epoch"] for line in read_lines(tmp_path / "out" / "metrics.jsonl")] == list(range(1, EPOCHS + 1))
    assert len(read_lines(tmp_path / "out" / "predictions.jsonl")) == run.scores["val_images"] * 2
    assert any("2 processes share each batch of 8, 4 pictures each" in line for line in heard)
    assert any("so few keep a process badly busy" in line for line in heard)
    assert not list((own_cache / "pixels").iterdir())  # decoded for both, and gone
    (kept,) = (own_cache / "teachers").iterdir()
    images = read_json(kept / "about.json", "cache")["images"]
    for view in kept.glob("view-*.bin"):
        assert np.fromfile(view, np.uint16)[:images].all(), "a picture's outputs are missing"
    assert len(list(kept.glob("view-*.bin"))) == 3
    again, said = distilled(colours, small_net, str(teacher), tmp_path / "alone")
    assert any("100% of them known already" in line for line in said)
    assert "processes" not in again.student.recipe


def test_predictions_are_those_of_the_run(colours: Path, small_net: str, teacher: Path, tmp_path: Path) -> None:
    """Validation is shared: what the processes say together is what one says of the finished run."""
    together(2, lambda _: distilled(colours, small_net, str(teacher), tmp_path / "out"))
    job = prepare_start(DataChoice(str(colours)).load(), Start(small_net), RECIPE, Silent())
    said = job.predictions(from_run(tmp_path / "out", job.splits.classes).network, "test").logits
    lines = [line for line in read_lines(tmp_path / "out" / "predictions.jsonl") if line["split"] == "test"]
    assert np.abs(np.array([line["logits"] for line in lines]) - said).max() < 1e-4


def epochs_of(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return len(read_lines(metrics)) if metrics.is_file() else 0


def test_killed_and_gone_on_with_it_ends_bit_for_bit_the_same(
    colours: Path, small_net: str, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)

    def work(out: Path) -> Together:
        return Together(2, lambda _: distilled(colours, small_net, str(teacher), out)[0].student.scores["val_top1"])

    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache of the whole one"))
    work(tmp_path / "whole").results()
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "cache of the killed one"))
    draw, out, kills = random.Random(0), tmp_path / "killed", 0
    for number in range(KILLS):
        training = work(out)
        while not training.ended(0.01) and epochs_of(out) < 2 * number + 1:
            pass
        time.sleep(draw.uniform(0.0, 0.05))
        kills += not training.ended(0.0)
        training.kill(number % 2)
        found = training.results()
        assert all(isinstance(result, TrainingError | float | None) for result in found), found
    assert all(isinstance(result, float) for result in work(out).results())
    expected, found = load_file(tmp_path / "whole" / WEIGHTS_FILE), load_file(out / WEIGHTS_FILE)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert kills > 0


def test_hints_and_a_teacher_made_on_the_way(colours: Path, small_net: str, tmp_path: Path, own_cache: Path) -> None:
    objective = Objective("dist", hints=(Hint("body.2", "body.2"),))
    found = together(
        2,
        lambda _: distilled(
            colours, small_net, small_net, tmp_path / "out", objective=objective, teacher_recipe=RECIPE,
            allow_weak=True, views=None,
        )[0].student,
    )  # fmt: skip
    assert found[0] == found[1]
    (teacher,) = (tmp_path / "out" / "teachers").iterdir()
    assert is_run(teacher) and read_run(teacher).recipe["processes"] == 2


def test_a_head_is_fitted_by_one_while_the_other_waits(
    colours: Path, small_net: str, teacher: Path, tmp_path: Path, own_cache: Path
) -> None:
    def work(ranks: Ranks) -> tuple[object, list[str]]:
        heard = Heard()
        start = Start(small_net, str(teacher / WEIGHTS_FILE))
        data, target = DataChoice(str(colours)), Target(tmp_path / "out")
        return finetune_data(data, start, RECIPE, target, heard, Strategy("head")), heard.lines

    (first, heard), (second, _) = together(2, work)
    assert first == second and "processes" not in first.recipe
    assert "strategy head works in one process; the others wait" in heard


def test_all_refuse_what_is_there_and_one_says_so(
    colours: Path, small_net: str, tmp_path: Path, own_cache: Path
) -> None:
    (tmp_path / "out").mkdir()

    def work(_: Ranks) -> None:
        finetune_data(DataChoice(str(colours)), Start(small_net), RECIPE, Target(tmp_path / "out"), Silent())

    first, second = Together(2, work).results()
    assert isinstance(first, WouldOverwriteError) and second is None


def test_without_others_there_is_nothing_to_synchronise(colours: Path, small_net: str, tmp_path: Path) -> None:
    heard = Heard()
    recipe = Recipe(epochs=1, batch_size=8, image_size=32, sync_bn=True)
    run = finetune_data(DataChoice(str(colours)), Start(small_net), recipe, Target(tmp_path / "out"), heard)
    assert "--sync-bn: there is one process, and nothing to synchronise" in heard.lines
    assert run.recipe["settings"]["sync_bn"] is False
