"""Cuts are exact, fall between blocks, and share the network's layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgexfer import nets
from edgexfer.errors import NetworkError
from edgexfer.nets import Network
from edgexfer.transfer import blocks
from tests.batchnorms import lived_in

SIZES = {"alexnet": 63, "vgg11": 32, "densenet121": 32, "squeezenet1_0": 48, "vit_b_32": 32, "swin_t": 32}
NAMES = (
    "tiny-darknet", "mobilenet-v1-0.25", "cifar-resnet20", "cifar-wrn-16-2", "resnet18", "squeezenet1_0",
    "shufflenet_v2_x0_5", "mobilenet_v3_small", "googlenet", "densenet121", "swin_t",
)  # fmt: skip


def network(name: str) -> tuple[Network, torch.Tensor]:
    size = SIZES.get(name, 32)
    net = lived_in(nets.create(name, 3, input_size=(size, size)))
    return net, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_is_exact(name: str) -> None:
    net, x = network(name)
    found = blocks.places(net, 6)
    assert 2 <= len(found) <= 6
    assert [p.depth for p in found] == sorted(p.depth for p in found)
    assert len({p.name for p in found}) == len(found)
    with torch.no_grad():
        expected = net(x)
        values = blocks.depth_taps(net, found).eval()(x)
        assert torch.equal(values[-1], net.embed(x))
        for place, value in zip(found, values, strict=False):
            cut = blocks.cut_at(net, place.name)
            crossing = cut.prefix.eval()(x)
            assert torch.equal(crossing, value)
            assert (cut.suffix.eval()(crossing) - expected).abs().max() <= 1e-5 * expected.abs().max()
            assert blocks.pooled(value).shape[0] == 2 and blocks.pooled(value).ndim == 2


def test_the_places_of_a_resnet_are_its_blocks() -> None:
    names = [place.name for place in blocks.places(network("resnet18")[0])]
    assert names == ["maxpool", "layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3", "layer4.0"]


def test_training_the_part_behind_a_cut_trains_the_network() -> None:
    net, x = network("resnet18")
    cut = blocks.cut_at(net, "layer3")
    before = net.body.layer4[1].conv2.weight.detach().clone()  # type: ignore[union-attr, index]
    with torch.no_grad():
        crossing = cut.prefix.eval()(x)
    parameters = list(cut.suffix.parameters())
    names = {id(p): name for name, p in net.named_parameters()}
    assert {names[id(p)].split(".")[1] for p in parameters if names[id(p)].startswith("body")} == {"layer4"}
    cut.suffix.train()(crossing).sum().backward()
    torch.optim.SGD(parameters, lr=0.1).step()
    assert not torch.equal(net.body.layer4[1].conv2.weight, before)  # type: ignore[union-attr, index]
    assert net.body.layer3[0].conv1.weight.grad is None  # type: ignore[union-attr, index]


@pytest.mark.parametrize(("name", "dense"), [("alexnet", 3), ("vgg11", 3), ("mobilenet_v3_small", 2)])
def test_dense_layers_are_cut_off_together(name: str, dense: int) -> None:
    net, x = network(name)
    cut = blocks.before_dense_layers(net)
    assert cut is not None
    assert sum(p.ndim == 2 for p in cut.suffix.parameters()) == dense
    with torch.no_grad():
        assert torch.equal(cut.suffix.eval()(cut.prefix.eval()(x)), net(x))


@pytest.mark.parametrize("name", ["resnet18", "tiny-darknet", "vit_b_32"])
def test_a_single_output_layer_is_no_dense_part(name: str) -> None:
    assert blocks.before_dense_layers(network(name)[0]) is None


def test_an_unknown_place_lists_those_there_are() -> None:
    with pytest.raises(NetworkError, match=r"cannot be cut behind 'layer9'; allowed: maxpool, layer1.0, .*layer4.0"):
        blocks.cut_at(network("resnet18")[0], "layer9")


class Branching(Network):
    """Looks at its input's values, which symbols do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)
        self.embedding_dim, self.num_classes = 4, 2

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return (y if y.sum() > 0 else -y).mean((2, 3))


def test_a_network_that_branches_is_refused_with_what_works_instead() -> None:
    with pytest.raises(NetworkError, match="Branching cannot be taken apart .*head and full need no cut"):
        blocks.places(Branching())


class Dropping(Network):
    """Dropout as a function, in the body and before the head; some paths run in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), Noisy(), nn.Conv2d(8, 8, 3), Noisy(), nn.Conv2d(8, 16, 3))
        self.head = nn.Linear(16, 3)
        self.embedding_dim, self.num_classes = 16, 3

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(self.body(x).mean((2, 3)), 0.5, self.training)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(self.conv(x), 0.5, self.training)
        return x * torch.rand_like(x) if self.training else x


@pytest.mark.parametrize("name", ["efficientnet_b0", "swin_t", "own"])
def test_what_is_frozen_drops_nothing_though_the_network_was_left_in_training_mode(name: str) -> None:
    net = Dropping() if name == "own" else nets.create(name, 3, input_size=(32, 32))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net.train()
    found = blocks.places(net, 4)
    taps, cut = blocks.depth_taps(net, found), blocks.cut_at(net, found[1].name)
    assert all(module.training for module in net.modules())
    net.eval()
    with torch.no_grad():
        values = taps.eval()(x)
        assert torch.equal(values[-1], net.embed(x))
        assert torch.equal(cut.prefix.eval()(x), values[1])
        assert torch.allclose(cut.suffix.eval()(values[1]), net(x), rtol=1e-5, atol=1e-6)
        learning = cut.suffix.train()
        assert not torch.equal(learning(values[1]), learning(values[1])), "dropout is on where the part above learns"
        copied = copy.deepcopy(learning).eval()
        net.eval()  # its BatchNorm has followed
        assert torch.allclose(copied(values[1]), net(x), rtol=1e-5, atol=1e-6)
    layers = {id(p) for p in net.parameters()}
    assert all(id(p) in layers for p in cut.suffix.parameters()) and list(cut.suffix.parameters())
    cut.suffix.load_state_dict(cut.suffix.state_dict())


class Constants(Dropping):
    """Makes tensors on its way, before the cut and behind it."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body[0](x * torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1))
        return self.body[4](x).mean((2, 3)) + torch.arange(16.0)


def test_tensors_that_a_network_makes_on_its_way_are_kept() -> None:
    net, x = Constants().eval(), torch.randn(2, 3, 16, 16)
    known = set(vars(net))
    found = blocks.places(net)
    assert [place.name for place in found] == ["0"]
    cut = blocks.cut_at(net, "0")
    with torch.no_grad():
        value, embedding = blocks.depth_taps(net, found).eval()(x)
        assert torch.equal(embedding, net.embed(x)) and torch.equal(cut.prefix.eval()(x), value)
        assert torch.equal(cut.suffix.eval()(value), net(x))
    assert set(vars(net)) == known
