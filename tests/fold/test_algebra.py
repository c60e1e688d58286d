"""The formulas against a NumPy oracle that never heard of them, and against literal values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgexfer.fold import algebra

TOLERANCE = 1e-13


def numbers(channels: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float]:
    rng = np.random.default_rng(seed)
    gamma = rng.uniform(0.5, 1.5, channels) * rng.choice([-1, 1], channels)
    beta, mean, var = rng.normal(0, 1, channels), rng.normal(0, 1, channels), rng.uniform(0.3, 2, channels)
    return (*(torch.from_numpy(value) for value in (gamma, beta, mean, var)), 1e-3)


def normalised(x: np.ndarray, channels_from: tuple) -> np.ndarray:
    """BatchNorm in NumPy, channel by channel, as Ioffe and Szegedy write it."""
    gamma, beta, mean, var, eps = channels_from
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        out[:, c] = float(gamma[c]) * (x[:, c] - float(mean[c])) / np.sqrt(float(var[c]) + eps) + float(beta[c])
    return out


def assert_close(found: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def rand(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, shape))


def test_assert_close_rejects_one_percent() -> None:
    with pytest.raises(AssertionError):
        assert_close(np.array([1.01]), np.array([1.0]))


def test_literal_scale_and_shift() -> None:
    one = algebra.affine(*(torch.tensor([v], dtype=torch.float64) for v in (3.0, 1.0, 2.0, 3.99)), eps=0.01)
    assert_close(one.scale, np.array([1.5]))
    assert_close(one.shift, np.array([-2.0]))


def test_without_gamma_and_beta() -> None:
    one = algebra.affine(None, None, *(torch.tensor([v], dtype=torch.float64) for v in (2.0, 0.24)), 0.01)
    assert_close(one.scale, np.array([2.0]))
    assert_close(one.shift, np.array([-4.0]))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_after_convolution(dims: int, groups: int, bias: bool) -> None:
    conv = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    x, w, b = rand(2, 4, *[5] * dims), rand(8, 4 // groups, *[3] * dims, seed=2), rand(8, seed=3) if bias else None
    expected = normalised(conv(x, w, b, padding=1, groups=groups).numpy(), numbers(8))
    folded = algebra.after(w, b, algebra.affine(*numbers(8)))
    assert_close(conv(x, *folded, padding=1, groups=groups), expected)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_after_transposed_convolution(dims: int, groups: int) -> None:
    conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    x, w, b = rand(2, 4, *[4] * dims), rand(4, 3, *[3] * dims, seed=2), rand(3 * groups, seed=3)
    how = {"stride": 2, "padding": 1, "groups": groups}
    expected = normalised(conv(x, w, b, **how).numpy(), numbers(3 * groups))
    folded = algebra.after_transposed(w, b, algebra.affine(*numbers(3 * groups)), groups)
    assert_close(conv(x, *folded, **how), expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_before_convolution(groups: int, bias: bool) -> None:
    x, w, b = rand(2, 4, 5, 6), rand(8, 4 // groups, 3, 2, seed=2), rand(8, seed=3) if bias else None
    expected = F.conv2d(torch.from_numpy(normalised(x.numpy(), numbers(4))), w, b, groups=groups)
    folded = algebra.before(w, b, algebra.affine(*numbers(4)), groups)
    assert_close(F.conv2d(x, *folded, groups=groups), expected)


def test_before_and_after_linear() -> None:
    x, w, b = rand(7, 4), rand(5, 4, seed=2), rand(5, seed=3)
    expected = normalised(F.linear(torch.from_numpy(normalised(x.numpy(), numbers(4))), w, b).numpy(), numbers(5, 9))
    first = algebra.before(w, b, algebra.affine(*numbers(4)))
    assert_close(F.linear(x, *algebra.after(*first, algebra.affine(*numbers(5, 9)))), expected)


def test_compose() -> None:
    x = rand(2, 4, 3)
    both = algebra.compose(algebra.affine(*numbers(4)), algebra.affine(*numbers(4, 5)))
    expected = normalised(normalised(x.numpy(), numbers(4)), numbers(4, 5))
    assert_close(x * both.scale[:, None] + both.shift[:, None], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fit_flushes_subnormals(dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    fitted = algebra.fit(torch.tensor([tiny, tiny / 2, -tiny / 2, 1.0], dtype=torch.float64), dtype)
    assert fitted is not None and fitted.dtype is dtype
    assert fitted.tolist() == [tiny, 0.0, 0.0, 1.0]


def test_fit_keeps_those_of_float16() -> None:
    fitted = algebra.fit(torch.tensor([2.0**-14, 2.0**-20, -(2.0**-24), 2.0**-26], dtype=torch.float64), torch.float16)
    assert fitted is not None and fitted.tolist() == [2.0**-14, 2.0**-20, -(2.0**-24), 0.0]


@pytest.mark.parametrize(
    ("weight", "bias", "dtype", "expected"),
    [
        (1.0, 1e-9, torch.float16, None),
        (1e-4, 0.0, torch.float16, None),
        (0.0, 0.0, torch.float16, None),
        (1e-6, 1e-7, torch.float16, "vanish"),
        (1e-40, 0.0, torch.float32, "vanish"),
        (1e-40, 1.0, torch.bfloat16, None),
        (1.0, 7e4, torch.float16, "overflow"),
    ],
)
def test_misfit(weight: float, bias: float, dtype: torch.dtype, expected: str | None) -> None:
    values = [torch.tensor([value, 0.0], dtype=torch.float64) for value in (weight, bias)]
    assert algebra.misfit(*values, dtype) == expected


@pytest.mark.parametrize(
    ("value", "dtype"), [(70000.0, torch.float16), (1e39, torch.float32), (float("nan"), torch.float32)]
)
def test_fit_refuses_what_overflows(value: float, dtype: torch.dtype) -> None:
    assert algebra.fit(torch.tensor([1.0, value], dtype=torch.float64), dtype) is None
