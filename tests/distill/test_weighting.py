from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgexfer.distill.weighting import validation_weights


def members(images: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """One good teacher, one that knows a little, one that talks nonsense loudly."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, images)
    right = np.eye(5)[labels]
    good = 3 * right + rng.normal(0, 1, right.shape)
    poor = 1 * right + rng.normal(0, 1, right.shape)
    nonsense = rng.normal(0, 6, right.shape)
    return torch.from_numpy(np.stack([good, poor, nonsense])).float(), torch.from_numpy(labels)


def nll(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
    return float(functional.cross_entropy(torch.einsum("m,mnk->nk", weights.float(), logits), labels))


def test_the_weights_are_the_best_on_a_fine_grid() -> None:
    logits, labels = members()
    found = validation_weights(logits, labels)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-6)
    grid = [torch.tensor([a, b, 1 - a - b]) for a in np.arange(0, 1.001, 0.05) for b in np.arange(0, 1.001 - a, 0.05)]
    best = min(nll(logits, labels, w) for w in grid)
    assert nll(logits, labels, found) <= best + 1e-4
    assert float(found[2]) < 0.01


@pytest.mark.parametrize("gap", [8.0, 12.0, 100.0])
def test_confident_teachers_are_weighed_as_well(gap: float) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, 200)
    said = [np.where(rng.random(200) < right, labels, rng.integers(0, 10, 200)) for right in (0.9, 0.8, 0.3)]
    logits = torch.from_numpy(gap * np.eye(10)[np.stack(said)] + rng.normal(0, 1, (3, 200, 10))).float()
    known = torch.from_numpy(labels)
    found = nll(logits, known, validation_weights(logits, known))
    grid = [torch.tensor([a, b, 1 - a - b]) for a in np.arange(0, 1.001, 0.02) for b in np.arange(0, 1.001 - a, 0.02)]
    assert found <= min(nll(logits, known, w) for w in grid) + 1e-5
    assert found <= nll(logits, known, torch.full((3,), 1 / 3))


def test_one_teacher_and_equal_teachers() -> None:
    logits, labels = members()
    assert validation_weights(logits[:1], labels).tolist() == [1.0]
    twins = validation_weights(torch.stack([logits[0], logits[0]]), labels)
    assert twins.tolist() == pytest.approx([0.5, 0.5])
