import pytest
import torch
from torch.nn import functional as F

from edgexfer import nets
from edgexfer.preprocessing import square
from tests.batchnorms import lived_in


@pytest.fixture
def net():
    return lived_in(nets.create("cifar-resnet20", 4))


def test_normalises_with_its_own_mean_and_std(net, close):
    rule = square(32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = torch.rand(2, 3, 32, 32)
    by_hand = torch.stack([(pixels[:, i] - rule.mean[i]) / rule.std[i] for i in range(3)], dim=1)
    both = nets.Normalized(net, rule)
    with torch.no_grad():
        assert close(both(pixels), net(by_hand))
        assert close(both.embed(pixels), net.embed(by_hand))
        assert close(both.classify(both.embed(pixels)), both(pixels))


def test_scales_pixels_of_another_size_with_antialias(net, close):
    rule = square(32)
    pixels = torch.rand(2, 3, 80, 48)
    scaled = F.interpolate(pixels, (32, 32), mode="bilinear", align_corners=False, antialias=True)
    both = nets.Normalized(net, rule)
    with torch.no_grad():
        assert close(both(pixels), both(scaled))


def test_holds_no_weights_of_its_own(net):
    both = nets.Normalized(net, square(32))
    assert set(both.state_dict()) == {f"net.{key}" for key in net.state_dict()}
    both.train()
    assert net.training
