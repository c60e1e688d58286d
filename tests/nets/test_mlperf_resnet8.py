import pytest
import torch

from edgexfer import nets
from edgexfer.errors import NetworkError
from tests.batchnorms import lived_in


def test_has_the_published_number_of_parameters():
    assert nets.count_parameters(nets.create("mlperf-resnet8", 10)) == 78_186


def test_takes_pixels_up_to_255(close):
    rule = nets.preprocessing_for("mlperf-resnet8")
    net = nets.create("mlperf-resnet8", 10).eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert close(nets.Normalized(net, rule)(pixels), net(pixels * 255))


def test_embedding_is_what_the_head_sees(close):
    net = lived_in(nets.create("mlperf-resnet8", 10))
    x = torch.rand(2, 3, 32, 32) * 255
    with torch.no_grad():
        assert close(net.classify(net.embed(x)), net(x))


def test_a_size_whose_shortcuts_would_not_meet_is_refused():
    with pytest.raises(NetworkError, match="multiple of 4; the nearest sizes are 28 and 32"):
        nets.create("mlperf-resnet8", 10, input_size=(30, 30))
