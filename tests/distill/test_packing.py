from __future__ import annotations

import numpy as np
import pytest
import torch

from edgexfer.distill.packing import DENSE, TOP, checks, pack, unpack, words_a_row


@pytest.mark.parametrize("classes", [2, 10, 100, DENSE])
def test_few_classes_come_back_to_half_precision(classes: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 6, (50, classes))).float()
    words = pack(logits)
    assert words.shape == (50, classes) and words.dtype == np.uint16
    expected = torch.log_softmax(logits, dim=1)
    np.testing.assert_allclose(unpack(words, classes).numpy(), expected.numpy(), rtol=2**-11, atol=1e-7)


def test_many_classes_keep_the_largest_and_spread_the_rest() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(0, 3, (20, 1000))).float()
    words = pack(logits)
    assert words.shape == (20, 2 * TOP) == (20, words_a_row(1000))
    exact, found = logits.softmax(dim=1), unpack(words, 1000).exp()
    top = exact.topk(TOP, dim=1).indices
    np.testing.assert_allclose(found.gather(1, top).numpy(), exact.gather(1, top).numpy(), rtol=6e-3)
    np.testing.assert_allclose(found.sum(dim=1).numpy(), np.ones(20), atol=1e-3)
    for row in found.scatter(1, top, 0.0):
        assert len(row[row > 0].unique()) == 1 and int((row > 0).sum()) == 1000 - TOP


def test_extreme_outputs_stay_finite() -> None:
    found = unpack(pack(torch.tensor([[3e38, -3e38, 0.0]])), 3)
    assert bool(torch.isfinite(found).all()) and float(found[0, 0]) == 0.0


def test_a_check_is_never_0_and_meets_every_changed_word() -> None:
    words = np.random.default_rng(2).integers(0, 65_536, (500, 10)).astype(np.uint16)
    words[0] = 0
    whole = checks(words)
    assert whole.min() >= 1
    for column in range(10):
        changed = words.copy()
        changed[:, column] ^= 1
        assert (checks(changed) != whole).all()
