import copy
import math

import pytest
import torch

from edgexfer import nets
from edgexfer.errors import NetworkError


def test_a_new_head_is_seeded_bounded_and_without_bias_values():
    net = nets.create("cifar-resnet20", 10)
    body = copy.deepcopy(net.layer1.state_dict())
    nets.reset_head(net, 3, seed=4)
    first = net.linear.weight.clone()
    nets.reset_head(net, 3, seed=5)
    assert not torch.equal(net.linear.weight, first)
    torch.manual_seed(99)
    nets.reset_head(net, 3, seed=4)
    assert torch.equal(net.linear.weight, first)
    assert net.linear.weight.abs().max() <= 1 / math.sqrt(64)
    assert net.linear.weight.std().item() == pytest.approx(1 / math.sqrt(3 * 64), rel=0.2)
    assert torch.equal(net.linear.bias, torch.zeros(3))
    assert net.num_classes == 3
    assert all(torch.equal(v, body[k]) for k, v in net.layer1.state_dict().items())
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_a_new_head_leaves_the_global_generator_alone():
    net = nets.create("cifar-resnet20", 10)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    nets.reset_head(net, 5, seed=2)
    nets.create("cifar-resnet20", 2, seed=8)
    assert torch.equal(torch.rand(3), expected)


def test_a_new_head_keeps_the_number_format_of_the_old():
    net = nets.create("tiny-darknet", 4).double()
    nets.reset_head(net, 6, seed=0)
    assert net.head.weight.dtype == torch.float64
    assert net(torch.randn(1, 3, 32, 32, dtype=torch.float64)).shape == (1, 6)


@pytest.mark.parametrize("name", ["tiny-darknet", "mobilenet-v1-0.25", "cifar-resnet20", "resnet18", "squeezenet1_1"])
def test_head_parameters_are_a_weight_and_a_bias_and_reach_the_logits(name):
    net = nets.create(name, 5, input_size=(32, 32))
    weight, bias = nets.head_parameters(net)
    assert weight.shape[:2] == (5, net.embedding_dim) and bias.shape == (5,)
    with torch.no_grad():
        bias.fill_(3)
        embedding = torch.zeros(2, net.embedding_dim)
        assert torch.equal(net.classify(embedding), torch.full((2, 5), 3.0))


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3"])
def test_a_number_of_classes_that_is_none_is_refused(count):
    with pytest.raises(NetworkError, match="whole number, at least 1"):
        nets.create("tiny-darknet", count)
    with pytest.raises(NetworkError, match=r"number of classes is"):
        nets.reset_head(nets.create("cifar-resnet20", 2), count)


def test_a_plain_mapping_loads_where_torch_asks_for_version_marks():
    net = nets.create("mnasnet0_5", 2, input_size=(32, 32))
    other = nets.create("mnasnet0_5", 2, input_size=(32, 32), seed=1)
    other.load_state_dict(dict(net.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
