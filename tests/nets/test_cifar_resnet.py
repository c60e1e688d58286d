import pytest
import torch
from torch.nn import functional as F

from edgexfer import nets
from edgexfer.nets.cifar_resnet import Block
from tests.batchnorms import lived_in


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_has_the_published_number_of_parameters(depth, parameters):
    assert nets.count_parameters(nets.create(f"cifar-resnet{depth}", 10)) == parameters


def test_shortcut_skips_pixels_and_pads_channels_with_zeros():
    block = lived_in(Block(4, 8, 2))
    block.bn2.weight.data.zero_()
    block.bn2.bias.data.zero_()  # leaves the shortcut alone
    x = torch.rand(1, 4, 6, 6)
    with torch.no_grad():
        y = block(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert torch.equal(y[:, [0, 1, 6, 7]], torch.zeros(1, 4, 3, 3))


def test_block_adds_before_the_last_relu(close):
    block = lived_in(Block(4, 4, 1))
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        inner = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        assert close(block(x), F.relu(inner + x))


def test_embedding_is_what_the_head_sees(close):
    net = lived_in(nets.create("cifar-resnet20", 10))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert net.embed(x).shape == (2, 64)
        assert close(net.classify(net.embed(x)), net(x))


def test_keys_are_those_of_the_published_checkpoints():
    keys = set(nets.create("cifar-resnet20", 10).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.conv1.weight", "layer3.2.bn2.bias", "linear.weight"} <= keys
