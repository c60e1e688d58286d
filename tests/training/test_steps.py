from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from edgexfer.training import hard_label_step, hard_loss


def test_without_mixing_it_is_the_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    for smoothing in (0.0, 0.1):
        expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert float(hard_loss(logits, {"labels": labels}, label_smoothing=smoothing)) == pytest.approx(float(expected))
    step = hard_label_step(0.1)
    assert float(step(torch.nn.Identity(), {"inputs": logits, "labels": labels})["loss"]) == pytest.approx(
        float(functional.cross_entropy(logits, labels, label_smoothing=0.1))
    )


def test_mixed_pictures_learn_both_labels() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    batch = {"labels": torch.tensor([0]), "partner_labels": torch.tensor([1]), "mix": torch.tensor([0.25])}
    expected = -(0.25 * torch.tensor(0.7).log() + 0.75 * torch.tensor(0.2).log())
    assert float(hard_loss(logits, batch)) == pytest.approx(float(expected), rel=1e-6)


def test_unlabelled_pictures_and_those_mixed_with_them_have_no_hard_loss() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, 3)
    batch = {
        "labels": torch.tensor([0, -1, 2, 1]),
        "partner_labels": torch.tensor([1, 1, -1, -1]),
        "mix": torch.tensor([0.5, 0.5, 0.5, 1.0]),
    }
    first = hard_loss(logits[:1], {key: value[:1] for key, value in batch.items()})
    last = functional.cross_entropy(logits[3:], torch.tensor([1]))
    assert float(hard_loss(logits, batch)) == pytest.approx((float(first) + float(last)) / 2, rel=1e-6)
    assert float(hard_loss(logits[:2], {"labels": torch.tensor([-1, -1])})) == 0.0
