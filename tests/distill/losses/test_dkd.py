from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from edgexfer.distill.losses import dkd_loss, kd_loss, soft_targets, target_classes
from tests.distill.losses.oracles import dkd_oracle

CLASSES = [2, 3, 5, 10, 100, 1000]


def drawn(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (6, classes)), rng.normal(0, 3, (6, classes)), rng.integers(0, classes, 6)


def loss_of(z: np.ndarray, v: np.ndarray, labels: np.ndarray, t: float = 4.0, **weights: float) -> float:
    teacher = soft_targets(torch.from_numpy(v)[None], t)
    return float(dkd_loss(torch.from_numpy(z), teacher, torch.from_numpy(labels), t, **weights))


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 8.0), (0.5, 2.0)])
def test_it_equals_the_oracle(classes: int, alpha: float, beta: float) -> None:
    z, v, labels = drawn(classes)
    expected = dkd_oracle(z, v, labels, 4.0, alpha, beta)
    assert loss_of(z, v, labels, alpha=alpha, beta=beta) == pytest.approx(expected, rel=2e-5, abs=1e-5)
    assert loss_of(z, v, labels, alpha=alpha, beta=beta) != pytest.approx(expected * 1.01, rel=2e-5, abs=1e-5)


def test_literal_value() -> None:
    z, v = np.log([[0.5, 0.3, 0.2]]), np.log([[0.8, 0.1, 0.1]])
    tckd = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    nckd = 0.5 * math.log(0.5 / 0.6) + 0.5 * math.log(0.5 / 0.4)
    assert tckd + 8 * nckd == pytest.approx(0.356032, abs=1e-6)
    assert loss_of(z, v, np.array([0]), 1.0) == pytest.approx(0.356032, abs=1e-6)


@pytest.mark.parametrize("classes", CLASSES)
def test_put_together_again_it_is_hintons_loss(classes: int) -> None:
    """Equation 5, one picture at a time: beta = 1 - p_t."""
    z, v, labels = drawn(classes, 3)
    for row in range(3):
        beta = 1 - softmax(v[row] / 4, axis=-1)[labels[row]]
        found = loss_of(z[row : row + 1], v[row : row + 1], labels[row : row + 1], beta=float(beta))
        one = torch.from_numpy(z[row : row + 1])
        assert found == pytest.approx(
            float(kd_loss(one, soft_targets(torch.from_numpy(v[row : row + 1])[None], 4.0), 4.0)), rel=1e-4, abs=1e-5
        )


def test_with_two_classes_only_the_first_term_is_left() -> None:
    z, v, labels = drawn(2)
    assert loss_of(z, v, labels, alpha=0.0, beta=8.0) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_gradient_against_finite_differences(classes: int) -> None:
    z, v, labels = drawn(classes, 5)
    values = torch.tensor(z, requires_grad=True)
    dkd_loss(values, soft_targets(torch.tensor(v)[None], 4.0), torch.from_numpy(labels), 4.0).backward()
    assert values.grad is not None
    for row, column in ((0, 0), (1, 1), (5, classes - 1)):
        up, down = z.copy(), z.copy()
        up[row, column] += 1e-5
        down[row, column] -= 1e-5
        slope = (dkd_oracle(up, v, labels, 4.0, 1, 8) - dkd_oracle(down, v, labels, 4.0, 1, 8)) / 2e-5
        assert float(values.grad[row, column]) == pytest.approx(slope, abs=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_extreme_logits_stay_finite(dtype: torch.dtype, target: int) -> None:
    student = torch.tensor([[3e4, -3e4, 0.0]], dtype=dtype, requires_grad=True)
    teacher = soft_targets(torch.tensor([[[-3e4, 3e4, 0.0]]], dtype=dtype), 4.0)
    loss = dkd_loss(student, teacher, torch.tensor([target]), 4.0)
    loss.backward()
    assert loss.dtype == torch.float32 and bool(torch.isfinite(loss))
    assert student.grad is not None and bool(torch.isfinite(student.grad).all())


def test_the_target_of_an_unlabelled_or_mixed_picture_is_what_the_teacher_names() -> None:
    teacher = torch.log_softmax(torch.tensor([[0.0, 5.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 7.0]]), dim=1)
    batch = {"labels": torch.tensor([2, -1, 0])}
    assert target_classes(teacher, batch).tolist() == [2, 0, 0]
    mixed = {**batch, "mix": torch.tensor([1.0, 1.0, 0.6])}
    assert target_classes(teacher, mixed).tolist() == [2, 0, 2]
