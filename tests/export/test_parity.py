"""How far ONNX Runtime may be from PyTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export import graph
from edgexfer.export.parity import MOST_EXPLAINED, ROUNDINGS, Reference, compare, reference
from edgexfer.export.torch_onnx import to_onnx
from tests.export.nets import TALL, SmallNet, make_pixels

PIXELS = make_pixels(4)


@pytest.fixture(scope="module")
def exported() -> tuple[bytes, Reference]:
    net = SmallNet().eval()
    return graph.to_bytes(to_onnx(net, TALL)), reference(net, PIXELS, TALL)


def off_by(answers: Reference, name: str, share: float, explained: float) -> Reference:
    """Answers that are off by a share of the largest, a part of which float64 explains as float32's rounding."""
    right = getattr(answers, name)
    gap = share * np.abs(right).max()
    exact = replace(answers, in_float64=None, **{name: right + gap - explained * gap})
    return replace(answers, in_float64=lambda: exact, **{name: right + gap})


@pytest.mark.parametrize("name", ["logits", "embedding"])
def test_what_roundings_do_not_explain_is_refused(exported: tuple[bytes, Reference], name: str) -> None:
    content, answers = exported
    wrong = off_by(answers, name, share=0.01, explained=0.5 / ROUNDINGS)
    chaotic = off_by(answers, name, share=1.2 * MOST_EXPLAINED, explained=1.0)
    for told in (wrong, replace(wrong, in_float64=None), chaotic):
        with pytest.raises(ExportError, match=f"does not compute what the network computes: {name} differ"):
            compare(content, PIXELS, told, TALL, "uint8")


@pytest.mark.parametrize("name", ["logits", "embedding"])
def test_what_roundings_explain_is_allowed(exported: tuple[bytes, Reference], name: str) -> None:
    content, answers = exported
    told = off_by(answers, name, share=0.01, explained=2 / ROUNDINGS)
    found = compare(content, PIXELS, told, TALL, "uint8")
    usual = 1e-3 * np.abs(told.logits).max()
    widened = 2 * 0.01 * np.abs(answers.logits).max()
    assert found.tolerance == pytest.approx(widened if name == "logits" else usual, rel=1e-4)


def test_float64_is_computed_on_a_copy() -> None:
    net = SmallNet().train()
    answers = reference(net, PIXELS, TALL)
    for name in ("logits", "embedding"):
        assert 0 < answers.rounding(name) < 1e-5 * np.abs(getattr(answers, name)).max()
    assert net.training and {p.dtype for p in net.parameters()} == {torch.float32}


def test_a_network_that_cannot_compute_in_float64_has_no_excuse() -> None:
    class Narrow(SmallNet):
        def embed(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(x.float(), torch.ones(16, 3, 1, 1)).mean((2, 3))

    assert reference(Narrow().eval(), PIXELS, TALL).rounding("logits") == 0.0
