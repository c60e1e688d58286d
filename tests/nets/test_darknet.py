import struct

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgexfer import nets
from edgexfer.errors import WeightsError
from edgexfer.nets.tiny_darknet import LAYOUT, TinyDarknet
from tests.batchnorms import lived_in


def made_up_file(path, classes, version=(0, 2, 0), seed=0):
    """A file as Darknet writes it, and its layers: (kernel, weights, [beta, gamma, mean, variance] or [bias])."""
    draw = np.random.default_rng(seed)
    header = struct.pack("<iii", *version) + struct.pack("<q" if version[0] * 10 + version[1] >= 2 else "<i", 32_013)
    layers, chunks, channels = [], [header], 3
    for item in [*LAYOUT, (1, classes)]:
        if item == "M":
            layers.append("M")
            continue
        kernel, out = item
        last = len(layers) == len(LAYOUT)
        weights = draw.normal(0, (2 / (channels * kernel**2)) ** 0.5, (out, channels, kernel, kernel))
        vectors = [draw.normal(0, 0.1, out)]
        if not last:
            # small variances, where Darknet's epsilon outside the root matters
            vectors += [draw.uniform(0.01, 0.05, out), draw.normal(0, 0.1, out), draw.uniform(1e-5, 1e-3, out)]
        layers.append((kernel, weights.astype(np.float32), [v.astype(np.float32) for v in vectors]))
        chunks += [v.astype("<f4").tobytes() for v in [*vectors, weights]]
        channels = out
    path.write_bytes(b"".join(chunks))
    return layers


def darknets_output(layers, x):
    """The forward pass as Darknet's source has it, in float64."""
    for layer in layers:
        if layer == "M":
            x = F.max_pool2d(x, 2, 2)
            continue
        kernel, weights, vectors = layer
        x = F.conv2d(x, torch.from_numpy(weights).double(), padding=kernel // 2)
        beta, *rest = (torch.from_numpy(v).double().view(1, -1, 1, 1) for v in vectors)
        if rest:
            gamma, mean, variance = rest
            x = F.leaky_relu(gamma * (x - mean) / (variance.sqrt() + 1e-6) + beta, 0.1)
        else:
            x = x + beta
    return x.mean((2, 3))


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (1, 0, 0)])
def test_a_loaded_file_is_darknets_function(tmp_path, version, close):
    layers = made_up_file(tmp_path / "tiny.weights", 11, version)
    net = nets.create("tiny-darknet", 11, weights=tmp_path / "tiny.weights").eval()
    x = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        assert close(net(x).double(), darknets_output(layers, x.double()))


def test_what_is_written_is_read_again(tmp_path, close):
    net = lived_in(nets.create("tiny-darknet", 6))
    nets.save_darknet(net, tmp_path / "net.weights", seen=64)
    content = (tmp_path / "net.weights").read_bytes()
    assert struct.unpack_from("<iiiq", content) == (0, 2, 0, 64)
    assert len(content) == 20 + 4 * (nets.count_parameters(net) + sum(2 * n.num_features for _, n in net.units()))
    again = TinyDarknet(6)
    nets.load_darknet(again, tmp_path / "net.weights")
    mine, read = net.state_dict(), again.state_dict()
    assert all(torch.allclose(mine[k], read[k], rtol=1e-6, atol=0) for k in mine if "tracked" not in k)


def test_the_size_tells_the_number_of_classes(tmp_path):
    made_up_file(tmp_path / "tiny.weights", 11)
    net = nets.create("tiny-darknet", 5, weights=tmp_path / "tiny.weights")
    assert net.num_classes == 5 and net.head.weight.shape == (5, 128, 1, 1)
    with pytest.raises(WeightsError, match="weights for 11 classes, and this network has 5"):
        nets.load_weights(net, tmp_path / "tiny.weights")


def test_broken_files_are_refused(tmp_path):
    file = tmp_path / "tiny.weights"
    made_up_file(file, 11)
    content = file.read_bytes()
    cases = {
        b"": "0 bytes, less than Darknet's header",
        content[:16]: "16 bytes, less than Darknet's header",
        content[:19]: "19 bytes, less than Darknet's header",
        content[:-2]: "not whole numbers",
        content[:-4]: r"holds \d+ numbers; Tiny Darknet takes \d+ and 129 for each class",
        content[:20_000]: r"holds 4995 numbers",
        struct.pack("<iii", 70_000, 2, 0) + content[12:]: "version 70000.2, which is not Darknet's",
        content[:-4] + struct.pack("<f", float("nan")): "not finite",
        content[: 20 + 4 * 48] + struct.pack("<f", -1.0) + content[24 + 4 * 48 :]: "variance is negative",
    }
    for broken, message in cases.items():
        file.write_bytes(broken)
        with pytest.raises(WeightsError, match=message):
            nets.create("tiny-darknet", 11, weights=file)


def test_the_format_is_for_tiny_darknet_only(tmp_path):
    made_up_file(tmp_path / "tiny.weights", 2)
    with pytest.raises(WeightsError, match="read for tiny-darknet only, not for CifarResNet"):
        nets.create("cifar-resnet20", 2, weights=tmp_path / "tiny.weights")
    with pytest.raises(WeightsError, match="names no tensors"):
        nets.read_state_dict(tmp_path / "tiny.weights")
    with pytest.raises(WeightsError, match="cannot read .*No such file"):
        nets.load_darknet(TinyDarknet(2), tmp_path / "absent.weights")
