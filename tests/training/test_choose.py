from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgexfer.data import load_splits
from edgexfer.training import Job, Recipe, Silent, prepare
from edgexfer.training import choose as choose_module
from edgexfer.training.choose import choose_compute
from edgexfer.training.compute import CANDIDATES, MEASURED_STEPS, Compute
from tests.heard import Heard

pytestmark = pytest.mark.usefixtures("own_cache")
PLAIN, LAST, HALF = CANDIDATES


@pytest.fixture(scope="module")
def job() -> Job:
    recipe = Recipe(epochs=1, batch_size=4, image_size=8, device="cpu")
    return prepare(load_splits("digits"), "cifar-resnet20", "none", recipe, Silent())


class Told:
    """Steps that take as long as it is told, on a clock that stands still otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
        self.now, self.tried, self.seconds = 0.0, [], dict(zip(CANDIDATES, seconds.values(), strict=True))
        monkeypatch.setattr("edgexfer.training.compute.clock", lambda device: self.now)
        monkeypatch.setattr(choose_module, "WORTH_MEASURING", 0)

    def step_in(self, compute: Compute) -> object:
        def step(net: nn.Module, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            self.now += self.seconds[compute]
            self.tried.append(compute)
            return {"loss": net(batch["inputs"]).float().square().mean()}

        return step

    def chosen(self, job: Job, folder: Path, listener: Silent, **taught: str) -> tuple[Compute, list[Compute]]:
        """What is chosen, and the ways that were tried for it."""
        self.tried.clear()
        batches = job.train_batches()
        chosen = choose_compute(job, job.new_student(), self.step_in, batches, folder, listener, **taught)  # type: ignore[arg-type]
        return chosen, sorted(set(self.tried), key=CANDIDATES.index)


def test_the_fastest_way_is_measured_once_for_what_is_taught(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, heard = Told(monkeypatch, plain=1.0, last=0.8, half=0.4), Heard()
    assert told.chosen(job, tmp_path / "a", heard) == (HALF, list(CANDIDATES))
    assert heard.lines == [
        "one step takes: float32 1000 ms, float32 with channels last 800 ms, bfloat16 with channels last 400 ms;"
        " bfloat16 with channels last it is"
    ]
    told.seconds = {PLAIN: 1.0, LAST: 0.5, HALF: 3.0}
    assert told.chosen(job, tmp_path / "b", heard) == (HALF, [])
    assert told.chosen(job, tmp_path / "b", heard, taught="kd, a teacher at work") == (LAST, list(CANDIDATES))
    assert told.chosen(job, tmp_path / "a", heard, taught="kd, a teacher at work") == (LAST, [])
    assert len(heard.lines) == 2


def test_every_way_takes_several_steps_of_which_the_first_warms_up(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch, plain=1.0, last=1.0, half=0.95)
    assert told.chosen(job, tmp_path, Silent())[0] == PLAIN
    assert told.tried == [way for way in CANDIDATES for _ in range(MEASURED_STEPS)]


def test_nothing_is_measured_where_it_is_said_or_not_worth_it(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch, plain=1.0, last=0.1, half=0.1)
    for precision, expected in (("float32", PLAIN), ("bfloat16", HALF)):
        said = replace(job, settings=replace(job.settings, precision=precision))
        assert told.chosen(said, tmp_path, Silent()) == (expected, [])
    monkeypatch.setattr(choose_module, "WORTH_MEASURING", 1e18)
    assert told.chosen(job, tmp_path, Silent()) == (PLAIN, [])
