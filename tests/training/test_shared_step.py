"""A shared step in a group of one process is the step itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn

from edgexfer.training.learner import Batch, Extras, Learner
from edgexfer.training.recipe import Settings
from edgexfer.training.shared_step import SharedStep

SETTINGS = Settings(
    image_size=32, epochs=1, batch_size=16, lr=1e-3, optimizer="adamw", weight_decay=0.0, warmup_epochs=0,
    label_smoothing=0.0, patience=1, augment="none", seed=0,
)  # fmt: skip


@pytest.fixture
def group_of_one() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def step(student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    return {"loss": nn.functional.cross_entropy(student(batch["inputs"]), batch["labels"])}


@pytest.mark.usefixtures("group_of_one")
def test_looking_for_unused_parameters_spends_no_random_number() -> None:
    """Else a training that was interrupted, and looks once more, would drop other units than one that was not."""
    student = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.5), nn.Linear(32, 3))
    batch = {"inputs": torch.randn(16, 8), "labels": torch.arange(16) % 3}
    shared = SharedStep(step, Learner.of(student, SETTINGS, Extras()))
    torch.manual_seed(0)
    first = shared(student, batch)["loss"]
    torch.manual_seed(0)
    assert torch.equal(first, step(student, batch)["loss"])
