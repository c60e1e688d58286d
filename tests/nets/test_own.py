import hashlib

import pytest
import torch

from edgexfer import nets
from edgexfer.errors import NetworkError, WeightsError

HEADER = "import torch\nfrom torch import nn\n"
PLAIN = HEADER + (
    "def build(num_classes):\n"
    "    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
    "                         nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, num_classes))\n"
)


def write(folder, text, name="net.py"):
    (folder / name).write_text(text)
    return f"{folder / name}:build"


def returning(expression):
    return HEADER + f"def build(num_classes):\n    return {expression}\n"


def test_a_network_that_ends_in_a_linear_layer(tmp_path, close):
    name = write(tmp_path, PLAIN)
    net = nets.create(name, 5, input_size=(32, 32)).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert net(x).shape == (3, 5) and net.embedding_dim == 16 and net.num_classes == 5
        assert close(net.classify(net.embed(x)), net(x))
    assert len(nets.head_parameters(net)) == 2
    assert nets.create(name, 5, input_size=(32, 32)).training
    nets.reset_head(net, 2, seed=0)
    assert net(x).shape == (3, 2)
    assert nets.preprocessing_for(name).input_size == (224, 224)
    assert nets.preprocessing_for(name, 64).input_size == (64, 64)
    assert nets.min_input_size(name) == 1


def test_a_convolution_under_global_pooling(tmp_path, close):
    text = returning(
        "nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, num_classes, 1, bias=False),"
        " nn.AdaptiveAvgPool2d(1), nn.Flatten())"
    )
    net = nets.create(write(tmp_path, text), 5, input_size=(16, 16)).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert net.embed(x).shape == (2, 8)
        assert close(net.classify(net.embed(x)), net(x))


def test_the_layer_that_runs_last_is_the_head_whatever_the_order_of_registration(tmp_path):
    text = HEADER + (
        "class Net(nn.Module):\n"
        "    def __init__(self, k):\n"
        "        super().__init__()\n"
        "        self.top = nn.Linear(6, k)\n"
        "        self.bottom = nn.Linear(3, 6)\n"
        "    def forward(self, x):\n"
        "        return self.top(self.bottom(x.mean((2, 3))).relu())\n"
        "def build(k):\n"
        "    return Net(k)\n"
    )
    assert nets.create(write(tmp_path, text), 5, input_size=(8, 8)).embedding_dim == 6


def test_its_weights_load_by_its_own_keys_and_by_ours(tmp_path, close):
    name = write(tmp_path, PLAIN)
    net = nets.create(name, 5, input_size=(32, 32), seed=1).eval()
    uncut = {
        k.replace("head.", "7.") if k.startswith("head.") else k.removeprefix("body."): v
        for k, v in net.state_dict().items()
    }
    x = torch.randn(2, 3, 32, 32)
    for state in (uncut, net.state_dict()):
        torch.save(state, tmp_path / "w.pth")
        again = nets.create(name, 5, weights=tmp_path / "w.pth", input_size=(32, 32), seed=2).eval()
        with torch.no_grad():
            assert close(again(x), net(x))
    with pytest.raises(WeightsError, match="no ImageNet weights"):
        nets.create(name, 5, weights="imagenet")


def test_the_seed_reaches_it(tmp_path):
    name = write(tmp_path, PLAIN)
    first, again, other = (nets.create(name, 5, input_size=(32, 32), seed=s) for s in (1, 1, 2))
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_files_beside_it_can_be_imported(tmp_path):
    (tmp_path / "own_blocks_beside.py").write_text(PLAIN)
    name = write(tmp_path, "from own_blocks_beside import build\n")
    assert nets.create(name, 3, input_size=(32, 32)).num_classes == 3


def test_one_of_ours_is_taken_as_it_is(tmp_path):
    name = write(tmp_path, "from edgexfer import nets\ndef build(k):\n    return nets.create('cifar-resnet20', k)\n")
    assert type(nets.create(name, 3, input_size=(32, 32))).__name__ == "CifarResNet"


def test_its_digest(tmp_path):
    name = write(tmp_path, PLAIN)
    assert nets.source_sha256(name) == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert nets.source_sha256("resnet18") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(k", "cannot be imported: SyntaxError"),
        ("import not_to_be_found_anywhere", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("x = 1", r"has no function 'build'; build\(num_classes\) has to return"),
        ("build = 3", "has no function 'build'"),
        (returning("1 / 0"), r"build\(5\) raised ZeroDivisionError"),
        (returning("'a network'"), "returned str; build"),
        (returning("nn.Sequential(nn.Flatten(), nn.LazyLinear(3))"), r"gives \(2, 3\) for two pictures; expected .*5"),
        (returning("nn.Linear(7, num_classes)"), "cannot take pictures of 32 x 32 pixels: RuntimeError"),
        (returning("nn.LSTM(32, 5)"), "cannot take pictures of 32 x 32"),
        (
            returning("nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes), nn.Softmax(1))"),
            "its output is not what that layer gives; let the network end in an nn.Linear",
        ),
        (
            returning("nn.Sequential(nn.Conv2d(3, num_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())"),
            "no last linear layer that runs once",
        ),
        (
            returning(
                "nn.Sequential(nn.Conv2d(3, 4, 32), nn.Flatten(), *[nn.Linear(4, 4)] * 2, nn.ConstantPad1d((0, 1), 0))"
            ),
            "no last linear layer that runs once",
        ),
        (
            returning("nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.AdaptiveAvgPool1d(num_classes))"),
            "cannot be cut at '0'",
        ),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, message):
    with pytest.raises(NetworkError, match=message):
        nets.create(write(tmp_path, text), 5, input_size=(32, 32))


def test_a_missing_file_or_function_is_said(tmp_path):
    with pytest.raises(
        NetworkError, match="there is no file .*absent.py'; a network of your own is path/to/net.py:build"
    ):
        nets.create(str(tmp_path / "absent.py:build"), 3)
    with pytest.raises(NetworkError, match="names a file but no function; write net.py:build"):
        nets.create("net.py", 3)
    with pytest.raises(NetworkError, match="cannot take 0 x 0 pixels"):
        nets.preprocessing_for("net.py:build", 0)
