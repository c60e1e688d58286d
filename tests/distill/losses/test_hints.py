from __future__ import annotations

import numpy as np
import pytest
import torch

from edgexfer.distill.losses import hint_loss


def test_literal_values_of_vectors_and_maps() -> None:
    assert float(hint_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]]))) == 0.5 * 4 / 2
    maps = torch.ones(2, 3, 4, 4)
    assert float(hint_loss(maps, -maps)) == pytest.approx(2.0)


def test_maps_of_different_sizes_meet_at_the_smaller() -> None:
    rng = np.random.default_rng(0)
    large, small = rng.normal(0, 1, (2, 3, 8, 4)), rng.normal(0, 1, (2, 3, 4, 4))
    pooled = large.reshape(2, 3, 4, 2, 4).mean(axis=3)
    expected = 0.5 * np.mean((pooled - small) ** 2)
    for first, second in ((large, small), (small, large)):
        assert float(hint_loss(torch.from_numpy(first), torch.from_numpy(second))) == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(1, 4\) cannot be compared"):
        hint_loss(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="both must be maps or both vectors"):
        hint_loss(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3))


def test_bfloat16_is_computed_in_float32() -> None:
    values = torch.full((1, 4), 3.0, dtype=torch.bfloat16)
    loss = hint_loss(values, torch.zeros(1, 4))
    assert loss.dtype == torch.float32 and float(loss) == 4.5
