"""A real search among tiny networks on generated pictures: whole, interrupted, short of time, in vain."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgexfer.errors import DeviceError, RecipeError, WouldOverwriteError
from edgexfer.export.verify import verify
from edgexfer.files import sha256_file
from edgexfer.results import Budget, Outcome, run_bench
from edgexfer.runs import read_lines
from edgexfer.training import Recipe
from edgexfer.workflows import measuring
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.measuring import Measuring
from edgexfer.workflows.search import Searched, search
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.train import Start
from edgexfer.workflows.tried import Tried
from tests.heard import Heard
from tests.workflows import measured

NET = """
from torch import nn

def build(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, {width}, 3, 2, 1, bias=False), nn.BatchNorm2d({width}), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear({width}, num_classes))
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Four that fit and one that is too large."""
    folder = tmp_path_factory.mktemp("nets")
    for name, width in (("a", 4), ("b", 8), ("c", 12), ("d", 16), ("large", 4000)):
        (folder / f"{name}.py").write_text(NET.format(width=width))
    return tuple(f"{folder / name}.py:build" for name in ("a", "b", "c", "d", "large"))


@pytest.fixture(scope="module")
def plan(networks: tuple[str, ...], colours: Path, teacher: Path) -> SearchPlan:
    return SearchPlan(
        DataChoice(str(colours)),
        (Start(str(teacher)),),
        Budget(latency_s=10.0, size_bytes=100_000),
        measuring=Measuring(min_seconds=0.02, min_runs=30, rounds=1),
        networks=networks,
        sizes=(24,),
        recipe=Recipe(epochs=6, batch_size=8),
    )


def run(plan: SearchPlan, out: Path, **options: Any) -> tuple[Searched, Heard, list[list[Tried]]]:
    heard, shown = Heard(), list[list[Tried]]()
    found = search(plan, out, heard, lambda tried: shown.append(list(tried)), **options)
    return found, heard, shown


@pytest.fixture(scope="module")
def whole(plan: SearchPlan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Searched, list[list[Tried]]]:
    out = tmp_path_factory.mktemp("search") / "whole"
    found, _, shown = run(plan, out)
    return out, found, shown


def test_one_artifact_comes_out_with_proof_bundle_and_trace(whole: tuple[Path, Searched, list[list[Tried]]]) -> None:
    out, found, _ = whole
    assert found.artifact in (out / "student.onnx", out / "student.int8.onnx")
    assert verify(found.artifact).verified is True
    assert json.loads((out / "student.proof.json").read_text())["artifact"] == "student.onnx"
    (bundled,) = (out / "bundle/models").iterdir()
    chosen = found.chosen.choice.chosen
    assert chosen is not None and sha256_file(bundled) == sha256_file(found.artifact) == chosen.sha256
    told = json.loads((out / "search.json").read_text())
    assert told["chosen"]["sha256"] == chosen.sha256 and told["test_top1"] == found.chosen.test.top1  # type: ignore[union-attr]
    assert told["accuracy_from"].startswith("accuracy is what was scored now on 9 validation pictures of")
    assert len(told["tried"]) == 5 and sum(one["chosen"] for one in told["tried"]) == 1


def test_what_does_not_fit_is_never_trained_and_the_worst_not_for_long(
    whole: tuple[Path, Searched, list[list[Tried]]],
) -> None:
    _, found, shown = whole
    by_name = {one.shape.name: one for one in found.tried}
    large = by_name["large.py-build@24"]
    assert not large.fits and not large.trainings and large.reason.startswith("over budget: size by ")
    assert large.latency_s["float32"] and large.latency_s["int8"]
    trained = [len(by_name[f"{name}.py-build@24"].trainings) for name in "abcd"]
    assert sorted(trained) == [1, 2, 2, 2]
    (out_of_it,) = [one for one in found.tried if len(one.trainings) == 1]
    assert out_of_it.reason.startswith("validation ") and out_of_it.reason.endswith(
        "after 2 epochs, not among the best"
    )
    assert [sum(bool(one.trainings) for one in tried) for tried in shown] == [0, 4, 4]
    assert found.tried[0].chosen and {final["precision"] for final in found.tried[0].finals} >= {"float32"}


def interrupted(plan: SearchPlan, out: Path, at: str) -> None:
    """A search in a process of its own that is killed the moment it says ``at``."""

    class Deadly(Heard):
        def say(self, text: str) -> None:
            if at in text:
                os.kill(os.getpid(), signal.SIGKILL)

    def begin() -> None:
        torch.set_num_threads(1)
        search(plan, out, Deadly(), lambda _: None, resume=True)

    child = multiprocessing.get_context("fork").Process(target=begin)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_search_goes_on_and_comes_to_the_same_end(
    plan: SearchPlan, whole: tuple[Path, Searched, list[list[Tried]]], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    for at in ("2 of 4: 2 epochs", "export"):
        interrupted(plan, out, at)
    with pytest.raises(WouldOverwriteError, match="holds a search; pass --resume to go on, or --force to start again"):
        run(plan, out)
    with pytest.raises(RecipeError, match="was begun otherwise: seed 0 then, 1 now"):
        run(replace(plan, recipe=Recipe(epochs=6, batch_size=8, seed=1)), out, resume=True)
    found, heard, _ = run(plan, out, resume=True)
    assert not any("timing" in line or "2 of 4" in line for line in heard.lines)
    _, undisturbed, _ = whole
    accuracies = [
        {one.shape.name: [line["val_top1"] for line in one.trainings] for one in searched.tried}
        for searched in (found, undisturbed)
    ]
    assert accuracies[0] == accuracies[1]
    lines = read_lines(out / "trace.jsonl")
    trainings = [(line["shape"], line["epochs"]) for line in lines if line["step"] == "train"]
    assert len(trainings) == len(set(trainings)) == 7
    again, heard, _ = run(plan, out, resume=True)  # a finished one tells the same again
    assert again.artifact == found.artifact
    assert not any("epochs (" in line or "measuring" in line for line in heard.lines)


def test_a_short_allowance_still_gives_a_student(plan: SearchPlan, tmp_path: Path) -> None:
    found, heard, _ = run(replace(plan, hours=1e-6, networks=plan.networks[:4]), tmp_path / "out")
    assert found.artifact.is_file()
    epochs = [line["epochs"] for one in found.tried for line in one.trainings]
    assert epochs == [2]  # the cheapest one for a round, and no more
    assert any("no time is left to train it longer than 2 epochs" in line for line in heard.lines)
    assert {one.reason for one in found.tried if one.fits} >= {"no time left to try it"}

    out = tmp_path / "out"
    (out / "student.int8.old").write_text("of a shorter training")
    found, _, _ = run(replace(plan, networks=plan.networks[:4]), out, resume=True)
    whole = [one.shape for one in found.tried if one.trainings[-1]["epochs"] == 6]
    assert len(whole) == 3 and not any(one.reason.startswith("no time left") for one in found.tried)
    assert not (out / "student.int8.old").exists()


def test_what_was_there_before_may_be_the_best(
    plan: SearchPlan, whole: tuple[Path, Searched, list[list[Tried]]], tmp_path: Path
) -> None:
    out, before, _ = whole
    (tmp_path / "before").mkdir()
    there = tmp_path / "before/old.onnx"
    there.write_bytes(before.artifact.read_bytes())
    measured.full(tmp_path / "before/wider.onnx", classes=("blue", "green", "red", "pink"))
    poor = replace(plan, networks=plan.networks[:1], recipe=Recipe(epochs=1, batch_size=8, lr=1e-5))
    found, _, _ = run(replace(poor, paths=(there.parent,)), tmp_path / "out")
    told = [one for one in found.chosen.gathered.left_out if "its classes are not those of the data" in one]
    assert [one.split(":")[0] for one in told] == ["before/wider.onnx"]
    assert found.artifact == there and (tmp_path / "out/bundle/models/old.onnx").is_file()


def test_the_best_may_lie_in_the_archive_of_a_bundle(
    plan: SearchPlan, whole: tuple[Path, Searched, list[list[Tried]]], tmp_path: Path
) -> None:
    _, before, _ = whole
    archive = make_bundle([before.artifact], plan.data, tmp_path / "before.tar.gz", Heard(), tar=True)
    poor = replace(plan, networks=plan.networks[:1], recipe=Recipe(epochs=1, batch_size=8, lr=1e-5))
    found, _, _ = run(replace(poor, paths=(archive,)), tmp_path / "out")
    assert found.chosen.choice.chosen is not None and found.chosen.choice.chosen.path == archive
    assert found.artifact == tmp_path / "out" / before.artifact.name
    (bundled,) = (tmp_path / "out/bundle/models").iterdir()
    digests = {sha256_file(path) for path in (before.artifact, found.artifact, bundled)}
    assert digests == {found.chosen.choice.chosen.sha256}
    assert json.loads((tmp_path / "out/search.json").read_text())["artifact"] == str(found.artifact)


def test_nothing_that_fits_is_said_before_anything_is_trained(plan: SearchPlan, tmp_path: Path) -> None:
    tight = replace(plan, budget=Budget(latency_s=10.0, size_bytes=100), networks=plan.networks[:1], sizes=(16,))
    with pytest.raises(
        DeviceError, match="none of 1 shapes fits the budget: nearest comes a.py-build@16 in .* over budget: size by"
    ):
        run(tight, tmp_path / "out")
    assert not (tmp_path / "out/runs").exists()


def test_a_folder_of_something_else_is_left_alone(plan: SearchPlan, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(WouldOverwriteError, match="exists already and is no search; choose another --out"):
        run(plan, tmp_path, force=True)
    assert (tmp_path / "mine.txt").is_file()


def test_latencies_may_come_from_a_device(plan: SearchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles: list[list[str]] = []

    def fleet(job: Any, devices: Any, tell: Any) -> list[Outcome]:
        bundles.append(sorted(path.name for path in (job.bundle / "models").iterdir()))
        how = {"threads": "1", "verify_only": False, "force": False, "options": ("--rounds", "1")}
        job.out.mkdir(parents=True)
        path = run_bench(job.bundle, out=job.out / "pi.json", min_seconds=0.02, min_runs=30, **how)
        return [Outcome("pi", devices[0].host, "ok", path)]

    monkeypatch.setattr(measuring, "run_fleet", fleet)
    far = replace(plan, networks=plan.networks[:1], sizes=(16, 24), recipe=Recipe(epochs=1, batch_size=8))
    found, _, _ = run(replace(far, measuring=replace(plan.measuring, host="pi@pi")), tmp_path / "out")
    untrained = [[f"a.py-build@{side}.{precision}.onnx" for precision in ("float32", "int8")] for side in (16, 24)]
    assert bundles == [*untrained, ["a.py-build@24.int8.onnx", "a.py-build@24.onnx"]]
    assert found.artifact.is_file() and found.chosen.choice.chosen is not None
    (small,) = [one for one in found.tried if one.shape.image_size == 16]
    assert small.fits and not small.trainings and small.reason == "a.py-build@24, of the same family, fits too"
