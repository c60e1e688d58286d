import os
import pickle
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from torch import nn

from edgexfer import nets
from edgexfer.errors import WeightsError
from tests.batchnorms import lived_in

NAME = "cifar-resnet20"


@pytest.fixture
def net():
    return lived_in(nets.create(NAME, 4, seed=1))


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_safetensors_and_torch_files_are_read(net, tmp_path):
    safetensors.torch.save_file(net.state_dict(), tmp_path / "a.safetensors")
    torch.save(net.state_dict(), tmp_path / "a.pth")
    torch.save(net.state_dict(), tmp_path / "a.tar", _use_new_zipfile_serialization=False)
    (tmp_path / "nameless").write_bytes((tmp_path / "a.safetensors").read_bytes())
    for file in ("a.safetensors", "a.pth", "a.tar", "nameless"):
        assert same(nets.create(NAME, 4, weights=tmp_path / file), net)
        assert same(nets.create(NAME, 4, weights=str(tmp_path / file)), net)


def test_a_runs_folder_stands_for_its_weights(net, tmp_path):
    safetensors.torch.save_file(net.state_dict(), tmp_path / "weights.safetensors")
    assert same(nets.create(NAME, 4, weights=tmp_path), net)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": s, "args": {"lr": 1}},
        lambda s: {
            "model_ema": OrderedDict({"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in s.items()})
        },
        lambda s: {"model": {"state_dict": s}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"module._orig_mod.{k}": v for k, v in s.items()}},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
        lambda s: {k: v.half().float().half() if v.is_floating_point() else v for k, v in s.items()},
    ],
)
def test_nested_and_prefixed_checkpoints_are_unwrapped(net, tmp_path, wrap):
    torch.save(wrap(net.state_dict()), tmp_path / "nested.pth")
    loaded = nets.create(NAME, 4, weights=tmp_path / "nested.pth")
    assert torch.allclose(loaded.conv1.weight, net.conv1.weight, atol=1e-3)
    assert torch.allclose(loaded.bn1.running_var, net.bn1.running_var, atol=1e-3)


def test_another_class_count_is_loaded_and_then_gets_a_seeded_head(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "four.pth")
    seven = nets.create(NAME, 7, weights=tmp_path / "four.pth", seed=3)
    assert seven.num_classes == 7 and seven.linear.weight.shape == (7, 64)
    assert torch.equal(seven.layer3[2].conv2.weight, net.layer3[2].conv2.weight)
    again = nets.create(NAME, 7, weights=tmp_path / "four.pth", seed=3)
    assert same(seven, again)
    with pytest.raises(WeightsError, match="weights for 4 classes, and this network has 7; create the network with"):
        nets.load_weights(seven, tmp_path / "four.pth")
    assert same(seven, again)  # untouched


def test_loading_in_place(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "four.pth")
    other = nets.create(NAME, 4, seed=9)
    parameter = other.conv1.weight
    nets.load_weights(other, tmp_path / "four.pth")
    assert other.conv1.weight is parameter and same(other, net)


def test_every_mistake_is_listed_together(net, tmp_path):
    state = dict(net.state_dict())
    del state["bn1.weight"]
    state["extra.weight"] = torch.zeros(3)
    state["conv1.weight"] = torch.zeros(16, 3, 5, 5)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(WeightsError) as caught:
        nets.create(NAME, 4, weights=tmp_path / "odd.pth")
    message = str(caught.value)
    assert "does not fit CifarResNet" in message
    assert "1 missing: bn1.weight" in message
    assert "1 unexpected: extra.weight" in message
    assert "1 misshapen: conv1.weight (16, 3, 5, 5) instead of (16, 3, 3, 3)" in message


def test_hundreds_of_mistakes_are_shortened(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        WeightsError, match=r"does not fit ResNet: \d+ missing: .* and \d+ more; \d+ unexpected: .* and \d+ more"
    ) as caught:
        nets.create("resnet18", 4, weights=tmp_path / "other.pth", input_size=(32, 32))
    assert len(str(caught.value)) < 1000


def test_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/owned",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"conv1.weight": Evil()}))
    for file in ("evil.pth", "evil.pkl"):
        with pytest.raises(WeightsError, match="not read for safety; save the network's state_dict|cannot be read as"):
            nets.read_state_dict(tmp_path / file)
    assert not (tmp_path / "owned").exists()


def test_a_whole_pickled_network_is_refused_with_the_remedy(net, tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"holds more than tensors.*save the network's state_dict\(\)"):
        nets.create(NAME, 4, weights=tmp_path / "whole.pth")


def test_truncated_files_are_refused(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "a.pth")
    torch.save(net.state_dict(), tmp_path / "a.tar", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(net.state_dict(), tmp_path / "a.safetensors")
    for name in ("a.pth", "a.tar", "a.safetensors"):
        content = (tmp_path / name).read_bytes()
        for length in (0, 1, 8, 9, 100, len(content) // 2, len(content) - 1):
            (tmp_path / name).write_bytes(content[:length])
            with pytest.raises(WeightsError, match=r"cannot be read as weights|not a whole safetensors|not read for"):
                nets.read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.zeros(3)], "holds list where named tensors are expected"),
        ({}, "holds no tensors"),
        ({"conv1.weight": 3}, "holds no tensor under conv1.weight"),
        ({1: torch.zeros(2)}, "holds no tensor under 1"),
        ({"a": torch.zeros(1).expand(10**12, 10**3)}, "holds no tensor under a"),
        ({"a": torch.zeros(3, dtype=torch.complex64)}, "holds no tensor under a"),
        ({"a": torch.eye(3).to_sparse()}, "holds no tensor under a"),
        ({"a": torch.tensor([1.0, float("nan")])}, "holds values that are not finite, in a"),
    ],
)
def test_what_are_not_weights_is_refused(tmp_path, value, message):
    torch.save(value, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=message):
        nets.read_state_dict(tmp_path / "odd.pth")


def test_a_file_of_text_is_not_called_dangerous(tmp_path):
    (tmp_path / "notes.txt").write_text("these are no weights\n" * 20)
    with pytest.raises(WeightsError, match="cannot be read as weights .*Read are safetensors and PyTorch files"):
        nets.read_state_dict(tmp_path / "notes.txt")


def test_a_missing_file_is_named():
    with pytest.raises(WeightsError, match="no weight file 'absent.pth'; weights are an existing file, a run's folder"):
        nets.create(NAME, 4, weights="absent.pth")


def test_an_existing_file_wins_over_the_words(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(net.state_dict(), "none")
    assert same(nets.create(NAME, 4, weights="none"), net)


def test_a_file_that_holds_itself_ends(net, tmp_path):
    endless = {"epoch": 1}
    endless["state_dict"] = endless
    deep = net.state_dict()
    for nest in ("state_dict", "model") * 4:
        deep = {nest: deep}
    torch.save(endless, tmp_path / "endless.pt")
    torch.save(deep, tmp_path / "eight.pt")
    torch.save({"model": deep}, tmp_path / "nine.pt")
    assert nets.read_state_dict(tmp_path / "eight.pt").keys() == net.state_dict().keys()
    for name in ("endless.pt", "nine.pt"):
        with pytest.raises(WeightsError, match=r"nests its tensors more than 8 deep.*save the network's state_dict"):
            nets.read_state_dict(tmp_path / name)


def test_a_nameless_safetensors_is_known_by_its_header_whatever_its_length(net, tmp_path):
    for length in range(64):
        safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "w", metadata={"note": "x" * 8 * length})
        assert nets.read_state_dict(tmp_path / "w").keys() == {"a"}


def test_numbers_beyond_float32_are_not_finite(tmp_path):
    torch.save({"a": torch.tensor([1.0, 1e300], dtype=torch.float64)}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match="holds values that are not finite, in a"):
        nets.read_state_dict(tmp_path / "odd.pth")
