"""The networks of the CIFAR-100 distillation papers: sizes, keys and mathematics of the published checkpoints."""

import pytest
import torch
from torch.nn import functional as F

from edgexfer import nets
from edgexfer.fold import fold_batchnorm
from edgexfer.nets import cifar_wrn
from edgexfer.nets.cifar_mobilenet_v2 import Block as InvertedResidual
from edgexfer.nets.cifar_resnet50 import Bottleneck
from edgexfer.nets.cifar_resnet_x4 import Block
from tests.batchnorms import lived_in

# at 100 classes; RepDistiller and mdistiller print these when they load their checkpoints
PARAMETERS = {
    "cifar-resnet8x4": 1_233_540,
    "cifar-resnet32x4": 7_433_860,
    "cifar-resnet50": 23_705_252,
    "cifar-wrn-16-1": 180_916,
    "cifar-wrn-16-2": 703_284,
    "cifar-wrn-40-1": 569_780,
    "cifar-wrn-40-2": 2_255_156,
    "cifar-mobilenet-v2-0.5": 812_836,
}
SMALL = ["cifar-resnet8x4", "cifar-wrn-16-1", "cifar-wrn-16-2", "cifar-mobilenet-v2-0.5"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_published_number_of_parameters(name):
    assert nets.count_parameters(nets.create(name, 100)) == PARAMETERS[name]


def test_the_widest_has_the_36_5_million_of_its_paper():
    with torch.device("meta"):
        net = cifar_wrn.CifarWideResNet(10, 28, 10)
    assert nets.count_parameters(net) == 36_479_194


@pytest.mark.parametrize("name", [*SMALL, "cifar-resnet50"])
def test_embedding_is_what_the_head_sees(name, close):
    net = lived_in(nets.create(name, 10))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert net.embed(x).shape == (2, net.embedding_dim)
        assert close(net.classify(net.embed(x)), net(x))


def test_statistics_are_those_of_cifar_100():
    rule = nets.preprocessing_for("cifar-resnet32x4")
    assert (rule.input_size, rule.mean, rule.std) == ((32, 32), (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


def norm(name):
    return [f"{name}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def theirs_x4(blocks):
    """Keys as ``mdistiller/models/cifar/resnet.py`` names them."""
    keys = ["conv1.weight", *norm("bn1"), "fc.weight", "fc.bias"]
    for stage in (1, 2, 3):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            keys += [f"{at}.conv1.weight", *norm(f"{at}.bn1"), f"{at}.conv2.weight", *norm(f"{at}.bn2")]
        keys += [f"layer{stage}.0.downsample.0.weight", *norm(f"layer{stage}.0.downsample.1")]
    return keys


def theirs_50():
    """As ``mdistiller/models/cifar/resnetv2.py``."""
    keys = ["conv1.weight", *norm("bn1"), "linear.weight", "linear.bias"]
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            for i in (1, 2, 3):
                keys += [f"layer{stage}.{block}.conv{i}.weight", *norm(f"layer{stage}.{block}.bn{i}")]
        keys += [f"layer{stage}.0.shortcut.0.weight", *norm(f"layer{stage}.0.shortcut.1")]
    return keys


def theirs_wide(blocks, widens):
    """As ``mdistiller/models/cifar/wrn.py``."""
    keys = ["conv1.weight", *norm("bn1"), "fc.weight", "fc.bias"]
    for stage in (1, 2, 3):
        for block in range(blocks):
            at = f"block{stage}.layer.{block}"
            keys += [*norm(f"{at}.bn1"), f"{at}.conv1.weight", *norm(f"{at}.bn2"), f"{at}.conv2.weight"]
        keys += [f"block{stage}.layer.0.convShortcut.weight"] if stage > 1 or widens else []
    return keys


def theirs_mobile():
    """As ``mdistiller/models/cifar/mobilenetv2.py``."""
    keys = ["conv1.0.weight", *norm("conv1.1"), "conv2.0.weight", *norm("conv2.1")]
    keys += ["classifier.0.weight", "classifier.0.bias"]
    for stage, blocks in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for block in range(blocks):
            for i in (0, 3, 6):
                at = f"blocks.{stage}.{block}.conv"
                keys += [f"{at}.{i}.weight", *norm(f"{at}.{i + 1}")]
    return keys


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("cifar-resnet8x4", theirs_x4(1)),
        ("cifar-resnet32x4", theirs_x4(5)),
        ("cifar-resnet50", theirs_50()),
        ("cifar-wrn-16-2", theirs_wide(2, True)),
        ("cifar-wrn-40-1", theirs_wide(6, False)),
        ("cifar-mobilenet-v2-0.5", theirs_mobile()),
    ],
)
def test_a_published_checkpoint_loads_by_its_own_keys(name, keys, tmp_path):
    source = nets.create(name, 7, seed=3)
    own = source.state_dict()
    their_keys = {
        key.replace("classifier.", "classifier.0.") if name.startswith("cifar-mobilenet") else key: own[key]
        for key in own
    }
    assert sorted(their_keys) == sorted(keys)
    torch.save({"model": {key: their_keys[key] for key in keys}, "epoch": 240}, tmp_path / "student_best")
    loaded = nets.with_its_classes(name, tmp_path / "student_best")
    assert loaded.num_classes == 7
    assert all(torch.equal(tensor, own[key]) for key, tensor in loaded.state_dict().items())


def test_wide_block_activates_before_it_adds(close):
    same, wider = lived_in(cifar_wrn.Block(4, 4, 1)), lived_in(cifar_wrn.Block(4, 6, 2))
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        inner = same.conv2(F.relu(same.bn2(same.conv1(F.relu(same.bn1(x))))))
        assert close(same(x), x + inner)
        active = F.relu(wider.bn1(x))
        inner = wider.conv2(F.relu(wider.bn2(wider.conv1(active))))
        assert close(wider(x), wider.convShortcut(active) + inner)


def test_residual_blocks_add_before_the_last_relu(close):
    x = torch.randn(2, 4, 8, 8)
    plain, bottle, projected = lived_in(Block(4, 4, 1)), lived_in(Bottleneck(4, 4, 1)), lived_in(Block(4, 6, 2))
    with torch.no_grad():
        inner = plain.bn2(plain.conv2(F.relu(plain.bn1(plain.conv1(x)))))
        assert plain.downsample is None and close(plain(x), F.relu(inner + x))
        inner = F.relu(bottle.bn2(bottle.conv2(F.relu(bottle.bn1(bottle.conv1(x))))))
        assert close(bottle(x), F.relu(bottle.bn3(bottle.conv3(inner)) + x))
        inner = projected.bn2(projected.conv2(F.relu(projected.bn1(projected.conv1(x)))))
        assert close(projected(x), F.relu(inner + projected.downsample(x)))


def test_inverted_residual_ends_linear(close):
    x = torch.randn(2, 4, 8, 8)
    same, strided = lived_in(InvertedResidual(4, 4, 1, 6)), lived_in(InvertedResidual(4, 4, 2, 6))
    with torch.no_grad():
        assert close(same(x), x + same.conv(x)) and (same(x) < 0).any()
        assert close(strided(x), strided.conv(x))


@pytest.mark.parametrize(
    ("name", "folded", "total"),
    [
        ("cifar-resnet8x4", 10, 10),
        ("cifar-resnet50", 53, 53),
        ("cifar-wrn-16-2", 7, 13),
        ("cifar-mobilenet-v2-0.5", 53, 53),
    ],
)
def test_folds_wherever_a_convolution_comes_before(name, folded, total):
    net = lived_in(nets.create(name, 10))
    result = fold_batchnorm(net, torch.randn(2, 3, 32, 32))
    assert (result.plan.folded, result.plan.total) == (folded, total)
