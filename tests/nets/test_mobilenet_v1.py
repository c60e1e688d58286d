import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.nets.mobilenet_v1 import MobileNetV1
from tests.batchnorms import lived_in

# Howard et al. 2017, table 6: millions of multiply-adds and of parameters by width (BatchNorm and biases vary)
PUBLISHED = {1.0: (569, 4.2), 0.75: (325, 2.6), 0.5: (149, 1.3), 0.25: (41, 0.5)}


@pytest.mark.parametrize("width", PUBLISHED)
def test_has_the_published_size(width):
    net = MobileNetV1(1000, width)
    multiply_adds, parameters = PUBLISHED[width]
    assert nets.count_operations(net, (224, 224)) / 2e6 == pytest.approx(multiply_adds, abs=1)
    assert nets.count_parameters(net) / 1e6 == pytest.approx(parameters, abs=0.05)


def test_keys_are_those_of_the_published_checkpoint_of_width_a_quarter():
    state = nets.create("mobilenet-v1-leaky-0.25", 1000).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes["stage1.0.0.weight"] == (8, 3, 3, 3)
    assert shapes["stage1.1.0.weight"] == (8, 1, 3, 3)
    assert shapes["stage1.1.4.running_var"] == (16,)
    assert shapes["stage2.5.3.weight"] == (128, 128, 1, 1)
    assert shapes["stage3.1.3.weight"] == (256, 256, 1, 1)
    assert shapes["fc.weight"] == (1000, 256)
    assert nets.count_parameters(nets.create("mobilenet-v1-leaky-0.25", 1000)) == 470_072


def test_leaky_and_plain_differ_in_their_activations_only():
    plain, leaky = nets.create("mobilenet-v1-0.25", 3), nets.create("mobilenet-v1-leaky-0.25", 3)
    assert plain.state_dict().keys() == leaky.state_dict().keys()
    assert sum(isinstance(m, nn.ReLU) for m in plain.modules()) == 27
    assert [m.negative_slope for m in leaky.modules() if isinstance(m, nn.LeakyReLU)] == [0.1] * 27


def test_embedding_is_what_the_head_sees(close):
    net = lived_in(nets.create("mobilenet-v1-0.25", 4))
    x = torch.randn(2, 3, 32, 40)
    with torch.no_grad():
        assert net.embed(x).shape == (2, 256)
        assert close(net.classify(net.embed(x)), net(x))
