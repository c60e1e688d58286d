from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgexfer.export import graph
from edgexfer.export.parity import compare, reference
from edgexfer.export.torch_onnx import to_onnx
from tests.export.nets import TALL, make_pixels


class ConvHead(nn.Module):
    """Classifies with a 1x1 convolution, as Tiny-darknet does."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Conv2d(3, 6, 3)
        self.head = nn.Conv2d(6, 4, 1, groups=groups)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).relu().mean((2, 3))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.head(embedding[:, :, None, None]).flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


@pytest.mark.parametrize(("groups", "kind"), [(1, "Gemm"), (2, "Reshape")])
def test_a_convolution_over_one_pixel_becomes_a_product(groups: int, kind: str) -> None:
    net = ConvHead(groups)
    model = to_onnx(net, TALL)
    assert {o: n.op_type for n in model.graph.node for o in n.output}["logits"] == kind
    pixels = make_pixels(4)
    wanted = reference(net, pixels, TALL)
    found = compare(graph.to_bytes(model), pixels, wanted, TALL, "uint8")
    np.testing.assert_allclose(found.logits, wanted.logits, rtol=0, atol=1e-5)
