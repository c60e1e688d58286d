"""edgexfer's own networks: every BatchNorm that can melt does, and all three methods stay what they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.fold import Folded, fold_batchnorm
from tests.batchnorms import lived_in

# folds, total, picture size; most of densenet's stand after a concatenation or pooling
NETWORKS = {
    "tiny-darknet": (15, 15, 64),
    "mobilenet-v1-0.25": (27, 27, 64),
    "resnet18": (20, 20, 32),
    "densenet121": (59, 121, 32),
    "shufflenet_v2_x0_5": (56, 56, 32),
}


def outputs_of(net: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        embedding = net.embed(images)  # type: ignore[operator]
        return {"forward": net(images), "embed": embedding, "classify": net.classify(embedding)}  # type: ignore[operator]


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, fold: Callable[..., Folded], close: Callable[..., None]) -> None:
    folds, total, size = NETWORKS[name]
    net = lived_in(nets.create(name, 10, input_size=(size, size)))
    folded = fold(net, 1, 3, size, size, randomise=False)
    assert (folded.plan.folded, folded.plan.total) == (folds, total)

    # pictures that the proof never saw, in float64: only the rounding of the weights to float32 is left
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    expected, found = outputs_of(net.double(), images), outputs_of(folded.module.double(), images)
    for method, value in expected.items():
        assert float(value.std()) > 0, method
        close(found[method], value, 1e-5)


def test_a_network_under_normalisation_folds_too() -> None:
    net = nets.create("tiny-darknet", 10, input_size=(64, 64))
    lived_in(net)
    wrapped = nets.Normalized(net, nets.preprocessing_for("tiny-darknet", 64)).eval()
    folded = fold_batchnorm(wrapped, torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)))
    assert (folded.plan.folded, folded.plan.total) == (15, 15)
