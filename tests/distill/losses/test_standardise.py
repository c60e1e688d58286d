from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgexfer.distill.losses import kd_loss, soft_targets, standardise


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 100, 1000])
def test_rows_have_mean_0_and_deviation_1(classes: int) -> None:
    logits = np.random.default_rng(0).normal(3, 5, (4, classes))
    expected = (logits - logits.mean(1, keepdims=True)) / logits.std(1, keepdims=True)
    np.testing.assert_allclose(standardise(torch.from_numpy(logits)).numpy(), expected, atol=2e-6)


def test_scale_and_shift_do_not_matter_so_log_probabilities_serve_as_well() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(0, 3, (5, 10))).float()
    softened = soft_targets(logits[None], 4.0)
    np.testing.assert_allclose(standardise(softened).numpy(), standardise(logits).numpy(), atol=1e-5)


def test_two_classes_always_give_the_same_target() -> None:
    for logits in ([[0.1, -0.3]], [[40.0, 2.0]]):
        shares = soft_targets(standardise(torch.tensor(logits))[None], 2.0).exp()
        assert shares[0].tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))], abs=1e-5)


def test_gradient_of_the_loss_on_top() -> None:
    rng = np.random.default_rng(2)
    z, v = rng.normal(0, 2, (4, 6)), torch.from_numpy(rng.normal(0, 2, (4, 6)))
    teacher = soft_targets(standardise(v)[None], 2.0)

    def loss(values: np.ndarray) -> float:
        wide = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True) / 2
        q = np.exp(wide) / np.exp(wide).sum(1, keepdims=True)
        p = teacher.double().exp().numpy()
        return float(4 * (p * np.log(p / q)).sum(1).mean())

    values = torch.tensor(z, requires_grad=True)
    kd_loss(standardise(values), teacher, 2.0).backward()
    assert values.grad is not None
    for row, column in ((0, 0), (3, 5)):
        up, down = z.copy(), z.copy()
        up[row, column] += 1e-5
        down[row, column] -= 1e-5
        assert float(values.grad[row, column]) == pytest.approx((loss(up) - loss(down)) / 2e-5, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_and_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0], [3e4, -3e4, 0.0]], dtype=dtype, requires_grad=True)
    found = standardise(logits)
    assert found.dtype == torch.float32 and found[0].abs().max() == 0
    found.square().sum().backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
