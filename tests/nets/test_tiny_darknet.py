import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.nets.tiny_darknet import TinyDarknet
from tests.batchnorms import lived_in


def test_has_the_published_number_of_parameters_and_operations():
    net = TinyDarknet(1000)
    assert nets.count_parameters(net) == 1_042_104
    assert nets.count_operations(net, (224, 224)) == 983_048_192  # "0.98 Bn"


def test_has_the_published_layers():
    net = TinyDarknet(1000)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size[0], c.out_channels) for c in convs] == [
        (3, 16), (3, 32), (1, 16), (3, 128), (1, 16), (3, 128), (1, 32), (3, 256), (1, 32), (3, 256),
        (1, 64), (3, 512), (1, 64), (3, 512), (1, 128), (1, 1000),
    ]  # fmt: skip
    assert [c.bias is not None for c in convs] == [False] * 15 + [True]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 15
    assert [m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)] == [0.1] * 15
    pools = [index for index, layer in enumerate(net.layers) if isinstance(layer, nn.MaxPool2d)]
    assert pools == [1, 3, 8, 13]
    assert all((net.layers[i].kernel_size, net.layers[i].stride) == (2, 2) for i in pools)


def test_classifying_the_pooled_features_equals_pooling_the_classified_ones(close):
    net = lived_in(nets.create("tiny-darknet", 7))
    x = torch.randn(3, 3, 48, 64)
    with torch.no_grad():
        published = net.head(net.layers(x)).mean((2, 3))
        assert close(net(x), published)
        assert net.embed(x).shape == (3, 128)
        assert close(net.classify(net.embed(x)), published)


def test_relu_takes_the_place_of_leaky_relu():
    net = nets.create("tiny-darknet-relu", 5)
    assert not any(isinstance(m, nn.LeakyReLU) for m in net.modules())
    assert sum(isinstance(m, nn.ReLU) for m in net.modules()) == 15
    leaky = nets.create("tiny-darknet", 5)
    assert net.state_dict().keys() == leaky.state_dict().keys()  # weights can be swapped for distillation


@pytest.mark.parametrize("slope", [0.1, 0.0])
def test_activations_keep_their_size_through_the_layers_at_the_start(slope):
    torch.manual_seed(0)
    net = TinyDarknet(10, slope).train()
    with torch.no_grad():
        spread = net.layers(torch.randn(8, 3, 64, 64)).std().item()
    assert 0.3 < spread < 1.5


@pytest.mark.parametrize("width", [0.75, 0.5, 0.25])
def test_a_width_scales_every_unit_and_the_head_sees_what_is_left(width, close):
    whole, net = TinyDarknet(7), lived_in(nets.create(f"tiny-darknet-{width}", 7))
    assert [conv.out_channels for conv, _ in net.units()] == [int(width * c.out_channels) for c, _ in whole.units()]
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        assert net.embed(x).shape == (2, 128 * width)
        assert close(net.classify(net.embed(x)), net(x))
    expected = width**2 * nets.count_parameters(whole)
    assert (
        expected < nets.count_parameters(net) < 1.2 * expected
    )  # the first layer and BatchNorm shrink with width only


def test_the_whole_width_is_the_published_network():
    shapes = {key: value.shape for key, value in TinyDarknet(5, width=1.0).state_dict().items()}
    assert shapes == {key: value.shape for key, value in TinyDarknet(5).state_dict().items()}
