from __future__ import annotations

import numpy as np
import pytest
import torch

from edgexfer.distill.losses import dist_loss, soft_targets
from tests.distill.losses.oracles import dist_oracle

CLASSES = [2, 3, 5, 10, 100, 1000]


def drawn(classes: int, seed: int = 0, images: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (images, classes)), rng.normal(0, 3, (images, classes))


def loss_of(z: np.ndarray, v: np.ndarray, t: float = 4.0, **weights: float) -> float:
    return float(dist_loss(torch.from_numpy(z), soft_targets(torch.from_numpy(v)[None], t), t, **weights))


@pytest.mark.parametrize("classes", CLASSES)
def test_it_equals_the_oracle(classes: int) -> None:
    z, v = drawn(classes)
    assert loss_of(z, v) == pytest.approx(dist_oracle(z, v, 4.0), rel=3e-4)
    assert loss_of(z, v, beta=2.0, gamma=0.5) == pytest.approx(dist_oracle(z, v, 4.0, 2.0, 0.5), rel=3e-4)
    assert loss_of(z, v) != pytest.approx(dist_oracle(z, v, 4.0) * 1.01, rel=3e-4)


def test_literal_value() -> None:
    q, p = np.log([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]), np.log([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])
    # rows correlate with .997176 and -.114708; columns, of two pictures each: 1, 0 (constant teacher), 0 (student)
    assert loss_of(q, p, 1.0, gamma=0.0) == pytest.approx(1 - (0.997176 - 0.114708) / 2, abs=1e-5)
    assert loss_of(q, p, 1.0, beta=0.0) == pytest.approx(1 - 1 / 3, abs=5e-3)


def test_scale_and_shift_of_the_probabilities_do_not_matter() -> None:
    z, v = drawn(10)
    assert loss_of(v, v) == pytest.approx(0.0, abs=1e-4)
    assert loss_of(z, v) == pytest.approx(loss_of(z + 3.0, v - 7.0), rel=1e-4)


def gradient(z: np.ndarray, v: np.ndarray, **weights: float) -> np.ndarray:
    values = torch.tensor(z, requires_grad=True)
    dist_loss(values, soft_targets(torch.tensor(v)[None], 4.0), 4.0, **weights).backward()
    assert values.grad is not None
    return values.grad.numpy()


def test_between_two_classes_nothing_is_learned() -> None:
    z, v = drawn(2)
    assert np.abs(gradient(z, v, gamma=0.0)).max() < 1e-4
    assert np.abs(gradient(z, v, beta=0.0)).max() > 1e-2


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_gradient_against_finite_differences(classes: int) -> None:
    z, v = drawn(classes, 2)
    found = gradient(z, v)
    for row, column in ((0, 0), (1, 1), (6, classes - 1)):
        up, down = z.copy(), z.copy()
        up[row, column] += 1e-5
        down[row, column] -= 1e-5
        slope = (dist_oracle(up, v, 4.0) - dist_oracle(down, v, 4.0)) / 2e-5
        assert found[row, column] == pytest.approx(slope, abs=5e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("images", [1, 2])
def test_extreme_logits_and_tiny_batches_stay_finite(dtype: torch.dtype, images: int) -> None:
    student = torch.tensor([[3e4, -3e4, 0.0]] * images, dtype=dtype, requires_grad=True)
    teacher = soft_targets(torch.tensor([[[-3e4, 3e4, 0.0]] * images], dtype=dtype), 4.0)
    loss = dist_loss(student, teacher, 4.0)
    loss.backward()
    assert loss.dtype == torch.float32 and bool(torch.isfinite(loss))
    assert student.grad is not None and bool(torch.isfinite(student.grad).all())
