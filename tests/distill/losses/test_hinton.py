from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.distill.losses import kd_loss, soft_targets
from tests.distill.losses.oracles import kd_oracle


def logits(shape: tuple[int, ...], seed: int, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, shape)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    classes=st.sampled_from([2, 3, 5, 10, 100, 1000]),
    members=st.integers(1, 4),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 4.0, 10.0]),
    ensemble=st.sampled_from(["geometric", "arithmetic"]),
)
def test_kd_loss_equals_the_oracle(seed: int, classes: int, members: int, temperature: float, ensemble: str) -> None:
    student, teachers = logits((6, classes), seed), logits((members, 6, classes), seed + 1)
    targets = soft_targets(torch.from_numpy(teachers), temperature, ensemble)
    found = float(kd_loss(torch.from_numpy(student), targets, temperature))
    expected = kd_oracle(student, teachers, temperature, ensemble)
    assert found == pytest.approx(expected, rel=2e-4, abs=1e-5)


def test_the_tolerance_would_reject_one_percent() -> None:
    student, teachers = logits((6, 10), 0), logits((1, 6, 10), 1)
    expected = kd_oracle(student, teachers, 4.0, "geometric")
    assert expected * 1.01 != pytest.approx(expected, rel=2e-4, abs=1e-5)


def test_literal_values() -> None:
    student = torch.tensor([[0.0, math.log(3.0)]])  # softmax: 1/4, 3/4
    teacher = soft_targets(torch.tensor([[[0.0, 0.0]]]), 1.0)  # 1/2, 1/2
    expected = 0.5 * math.log(2.0) + 0.5 * math.log(2 / 3)
    assert float(kd_loss(student, teacher, 1.0)) == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(0.143841, abs=1e-6)


def test_both_ensembles_on_two_members_that_disagree() -> None:
    members = torch.tensor([[[math.log(0.9), math.log(0.1)]], [[math.log(0.5), math.log(0.5)]]])
    arithmetic = soft_targets(members, 1.0, "arithmetic").exp()[0]
    geometric = soft_targets(members, 1.0, "geometric").exp()[0]
    assert arithmetic.tolist() == pytest.approx([0.7, 0.3], abs=1e-6)
    assert geometric.tolist() == pytest.approx([0.75, 0.25], abs=1e-6)  # sqrt(.45) : sqrt(.05) = 3 : 1


def test_a_student_that_agrees_loses_nothing_and_gets_no_gradient() -> None:
    values = torch.from_numpy(logits((4, 7), 3)).float().requires_grad_()
    loss = kd_loss(values, soft_targets(values.detach()[None], 4.0), 4.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert values.grad is not None
    assert float(values.grad.abs().max()) < 1e-6


def test_the_gradient_keeps_its_size_at_every_temperature() -> None:
    """At high temperature it tends to (z - v) / (N K) (the paper, equation 4): T squared undoes 1 / T squared."""
    student, teacher = logits((5, 8), 1, 0.5), logits((1, 5, 8), 2, 0.5)
    student -= student.mean(axis=1, keepdims=True)
    teacher -= teacher.mean(axis=2, keepdims=True)
    values = torch.tensor(student, requires_grad=True)
    kd_loss(values, soft_targets(torch.tensor(teacher), 500.0), 500.0).backward()
    assert values.grad is not None
    np.testing.assert_allclose(values.grad.numpy(), (student - teacher[0]) / (5 * 8), atol=2e-4)


def test_gradient_against_finite_differences() -> None:
    teacher = logits((2, 3, 5), 4)
    student = logits((3, 5), 5)
    values = torch.tensor(student, requires_grad=True)
    kd_loss(values, soft_targets(torch.tensor(teacher), 2.0), 2.0).backward()
    assert values.grad is not None
    for row, column in ((0, 0), (1, 3), (2, 4)):
        up, down = student.copy(), student.copy()
        up[row, column] += 1e-5
        down[row, column] -= 1e-5
        slope = (kd_oracle(up, teacher, 2.0, "geometric") - kd_oracle(down, teacher, 2.0, "geometric")) / 2e-5
        assert float(values.grad[row, column]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    student = torch.tensor([[3e4, -3e4, 0.0]], dtype=dtype, requires_grad=True)
    teacher = soft_targets(torch.tensor([[[-3e4, 3e4, 0.0]]], dtype=dtype), 4.0)
    loss = kd_loss(student, teacher, 4.0)
    loss.backward()
    assert loss.dtype == torch.float32 and bool(torch.isfinite(loss))
    assert student.grad is not None and bool(torch.isfinite(student.grad).all())


@pytest.mark.parametrize("ensemble", ["geometric", "arithmetic"])
def test_weights_of_an_ensemble(ensemble: str) -> None:
    members = torch.from_numpy(logits((3, 4, 5), 6)).float()
    whole = soft_targets(members, 2.0, ensemble, torch.tensor([0.0, 1.0, 0.0]))
    alone = soft_targets(members[1:2], 2.0, ensemble)
    np.testing.assert_allclose(whole.numpy(), alone.numpy(), atol=1e-6)
    equal = soft_targets(members, 2.0, ensemble, torch.full((3,), 1 / 3))
    np.testing.assert_allclose(equal.numpy(), soft_targets(members, 2.0, ensemble).numpy(), atol=1e-6)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="temperature is 0.*above 0"):
        soft_targets(torch.zeros(1, 1, 2), 0.0)
    with pytest.raises(ValueError, match="'median'.*geometric, arithmetic"):
        soft_targets(torch.zeros(1, 1, 2), 1.0, "median")
    with pytest.raises(ValueError, match=r"1 teachers but weights of shape \(2,\); one for each"):
        soft_targets(torch.zeros(1, 1, 2), 1.0, "geometric", torch.ones(2))
