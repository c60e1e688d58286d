import pytest
import torch
from torch import nn

from edgexfer.errors import NetworkError
from edgexfer.nets.split import SplitNetwork, is_head, last_linear


def small(bias=True):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4, bias)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_the_cut_network_is_the_same_function(bias, close):
    model = small(bias).eval()
    x = torch.randn(3, 3, 9, 9)
    with torch.no_grad():
        expected = model(x)
        net = SplitNetwork(model, "5", 4)
        assert close(net(x), expected)
        assert close(net.classify(net.embed(x)), expected)
    assert net.embedding_dim == 6
    assert net.head.bias is not None


def test_dropout_before_the_head_stays_in_the_body():
    net = SplitNetwork(small(), "5", 4).train()
    torch.manual_seed(0)
    embedding = net.embed(torch.rand(20, 3, 9, 9) + 1)
    assert (embedding == 0).float().mean() > 0.3


def test_keys_of_the_uncut_and_of_the_cut_network_are_both_read():
    model = small()
    uncut = {k: v.clone() for k, v in model.state_dict().items()}
    net = SplitNetwork(model, "5", 4)
    assert net.own_keys(uncut).keys() == net.state_dict().keys()
    assert net.own_keys(net.state_dict()).keys() == net.state_dict().keys()
    assert torch.equal(net.own_keys(uncut)["head.weight"], uncut["5.weight"])
    assert net.may_lack() == frozenset()
    assert SplitNetwork(small(bias=False), "5", 4).may_lack() == {"head.bias"}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(3, 2), True),
        (nn.Conv2d(3, 2, 1), True),
        (nn.Conv2d(3, 2, 3), False),
        (nn.Conv2d(4, 2, 1, groups=2), False),
        (nn.Conv2d(3, 2, 1, stride=2), False),
        (nn.Conv2d(3, 2, 1, padding=1), False),
        (nn.ReLU(), False),
    ],
)
def test_what_can_be_a_head(module, expected):
    assert is_head(module) is expected


def test_a_network_without_linear_layer_is_refused():
    with pytest.raises(NetworkError, match="no nn.Linear"):
        last_linear(nn.Sequential(nn.Conv2d(3, 2, 3)))
    with pytest.raises(NetworkError, match="'0' is Conv2d.*a head is"):
        SplitNetwork(nn.Sequential(nn.Conv2d(3, 2, 3)), "0", 2)
