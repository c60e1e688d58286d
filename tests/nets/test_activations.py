from pathlib import Path

import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.errors import NetworkError, UnknownNameError

OLD = (nn.LeakyReLU, nn.Hardswish, nn.SiLU)


def kinds(net: nn.Module, wanted: tuple[type, ...]) -> int:
    return sum(isinstance(module, wanted) for module in net.modules())


@pytest.mark.parametrize("name", ["tiny-darknet", "mobilenet_v3_small", "efficientnet_b0", "mobilenet-v1-leaky-0.25"])
def test_every_replaceable_activation_becomes_a_relu_and_nothing_else_changes(name: str) -> None:
    plain = nets.create(name, 3, input_size=(64, 64))
    swapped = nets.create(f"{name}+relu", 3, input_size=(64, 64))
    replaced = kinds(plain, OLD)
    assert replaced > 0 and kinds(swapped, OLD) == 0
    assert kinds(swapped, (nn.ReLU,)) == kinds(plain, (nn.ReLU,)) + replaced
    assert kinds(swapped, (nn.Hardsigmoid, nn.Sigmoid)) == kinds(plain, (nn.Hardsigmoid, nn.Sigmoid))
    assert {k: v.shape for k, v in swapped.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


def test_a_swapped_tiny_darknet_computes_what_the_registered_relu_network_does() -> None:
    mine, theirs = (
        nets.create(name, 3, input_size=(32, 32)).eval() for name in ("tiny-darknet+relu", "tiny-darknet-relu")
    )
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mine(x), theirs(x), rtol=0, atol=0)


def test_weights_of_the_plain_network_fit(tmp_path: Path) -> None:
    plain = nets.create("tiny-darknet", 3, input_size=(32, 32), seed=4)
    torch.save(plain.state_dict(), tmp_path / "w.pt")
    swapped = nets.create("tiny-darknet+relu", 3, weights=tmp_path / "w.pt", input_size=(32, 32))
    assert torch.equal(swapped.state_dict()["head.weight"], plain.state_dict()["head.weight"])


def test_what_is_known_of_a_name_holds_for_its_variants() -> None:
    assert nets.preprocessing_for("efficientnet_b0+relu") == nets.preprocessing_for("efficientnet_b0")
    assert nets.min_input_size("inception_v3+relu") == nets.min_input_size("inception_v3")
    assert nets.about("tiny-darknet+relu") == nets.about("tiny-darknet")
    assert nets.nearest_input_size("mlperf-resnet8+relu", 33) == nets.nearest_input_size("mlperf-resnet8", 33)
    assert nets.with_activation("tiny-darknet", "relu") == nets.with_activation("tiny-darknet+relu", "relu")
    assert nets.with_activation("tiny-darknet", None) == "tiny-darknet"


def test_a_network_of_ones_own_too(tmp_path: Path) -> None:
    file = tmp_path / "c++" / "net.py"
    file.parent.mkdir()
    file.write_text(
        "from torch import nn\n"
        "def build(k):\n"
        "    pool = nn.AdaptiveAvgPool2d(1)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), pool, nn.Flatten(), nn.Linear(4, k))\n"
    )
    plain = nets.create(f"{file}:build", 2, input_size=(16, 16))
    swapped = nets.create(f"{file}:build+relu", 2, input_size=(16, 16))
    assert (kinds(plain, (nn.SiLU,)), kinds(swapped, (nn.SiLU,)), kinds(swapped, (nn.ReLU,))) == (1, 0, 1)
    assert nets.source_sha256(f"{file}:build+relu") == nets.source_sha256(f"{file}:build")
    assert nets.preprocessing_for(f"{file}:build+relu").input_size == (224, 224)


def test_mistakes_are_named() -> None:
    with pytest.raises(NetworkError, match="asks for the activation 'mish'; allowed after the \\+: relu"):
        nets.create("tiny-darknet+mish", 2)
    with pytest.raises(NetworkError, match="resnet18 has no activation to replace by relu"):
        nets.create("resnet18+relu", 2)
    with pytest.raises(UnknownNameError, match="no network is called 'tiny-darkent'"):
        nets.create("tiny-darkent+relu", 2)


def test_an_activation_that_is_called_twice_is_replaced_everywhere(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(k):\n"
        "    act = nn.LeakyReLU(0.1)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), act, nn.Conv2d(4, 4, 3), act,\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, k))\n"
    )
    swapped = nets.create(f"{tmp_path / 'net.py'}:build+relu", 2, input_size=(16, 16))
    assert (kinds(swapped, OLD), kinds(swapped, (nn.ReLU,))) == (0, 2)
