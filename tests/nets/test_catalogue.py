import subprocess
import sys

import pytest
import torch

from edgexfer import nets
from edgexfer.errors import FormatError, NetworkError, UnknownNameError
from edgexfer.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from edgexfer.torchvision_import import import_torchvision


def test_every_classification_network_of_torchvision_is_there():
    models = import_torchvision().models
    theirs = models.list_models(module=models)
    assert len(theirs) >= 80
    assert set(theirs) <= set(nets.names())


def test_our_own_are_there():
    own = ["tiny-darknet", "tiny-darknet-relu", "mlperf-resnet8"]
    own += [f"mobilenet-v1{kind}{width}" for kind in ("", "-leaky") for width in ("", "-0.75", "-0.5", "-0.25")]
    own += [f"cifar-resnet{depth}" for depth in (20, 32, 44, 56, 110, "8x4", "32x4", 50)]
    own += ["cifar-wrn-16-1", "cifar-wrn-16-2", "cifar-wrn-40-1", "cifar-wrn-40-2", "cifar-mobilenet-v2-0.5"]
    assert set(own) <= set(nets.names())
    assert len(set(nets.names())) == len(nets.names())
    for name in own:
        net = nets.create(name, 3, input_size=(32, 32)).eval()
        assert net(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_listing_imports_no_torchvision():
    code = "import sys; from edgexfer import nets; nets.names(); nets.describe(); nets.preprocessing_for('resnet18')"
    code += "; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_describe_is_what_a_listing_needs():
    rows = {row["name"]: row for row in nets.describe()}
    assert list(rows) == nets.names()
    assert rows["tiny-darknet"] == {
        "name": "tiny-darknet", "parameters": 1_042_104, "operations": 983_048_192, "input_size": [224, 224],
    }  # fmt: skip
    assert rows["inception_v3"]["input_size"] == [299, 299]


def test_an_unknown_name_is_answered_with_near_ones():
    for call in (nets.min_input_size, nets.preprocessing_for, lambda name: nets.create(name, 3)):
        with pytest.raises(UnknownNameError, match="no network is called 'resnet19'; did you mean 'resnet18'"):
            call("resnet19")


@pytest.mark.parametrize(
    ("name", "size", "resize", "interpolation"),
    [
        ("resnet18", 224, 256, "bilinear"),
        ("resnet50", 224, 232, "bilinear"),
        ("efficientnet_b0", 224, 256, "bicubic"),
        ("inception_v3", 299, 342, "bilinear"),
        ("tiny-darknet", 224, 256, "bilinear"),
        ("cifar-resnet20", 32, 32, "bilinear"),
    ],
)
def test_usual_preprocessing(name, size, resize, interpolation):
    rule = nets.preprocessing_for(name)
    assert rule.input_size == (size, size) and rule.resize == resize and rule.interpolation == interpolation
    assert nets.preprocessing_for(name, size) == rule


def test_preprocessing_of_torchvisions_networks_is_torchvisions():
    models = import_torchvision().models
    for name in models.list_models(module=models):
        theirs = models.get_model_weights(name).DEFAULT.transforms()
        mine = nets.preprocessing_for(name)
        assert [list(mine.input_size), [mine.resize]] == [theirs.crop_size * 2, theirs.resize_size], name
        assert mine.interpolation == theirs.interpolation.value, name
        if name not in ("googlenet", "inception_v3"):  # see test_half_mean_is_what_transform_input_does
            assert [list(mine.mean), list(mine.std)] == [theirs.mean, theirs.std], name


def test_preprocessing_of_another_size_and_with_other_statistics():
    rule = nets.preprocessing_for("efficientnet_b0", 112)
    assert (rule.input_size, rule.resize, rule.interpolation) == ((112, 112), 128, "bicubic")
    assert (rule.mean, rule.std) == (IMAGENET_MEAN, IMAGENET_STD)
    rule = nets.preprocessing_for("tiny-darknet", mean=(0, 0, 0), std=(1, 1, 1))
    assert (rule.mean, rule.std) == ((0, 0, 0), (1, 1, 1))
    assert nets.preprocessing_for("efficientnet_v2_l").mean == (0.5, 0.5, 0.5)
    with pytest.raises(FormatError, match="std above 0"):
        nets.preprocessing_for("tiny-darknet", std=(1, 0, 1))
    with pytest.raises(NetworkError, match="smallest input is 75 x 75"):
        nets.preprocessing_for("inception_v3", 74)


def test_seeds_give_the_weights():
    first, again, other = (nets.create("mobilenet-v1-0.25", 4, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["stage1.0.0.weight"], other["stage1.0.0.weight"])


@pytest.mark.parametrize(
    "name", ["tiny-darknet", "squeezenet1_0", "squeezenet1_1", "googlenet", "densenet121", "swin_t"]
)
def test_the_smallest_input_is_the_smallest(name):
    least = nets.min_input_size(name)
    net = nets.create(name, 3, input_size=(least, least)).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, least, least)).isfinite().all()
        with pytest.raises(RuntimeError):
            net(torch.randn(1, 3, least - 1, least - 1))
    with pytest.raises(NetworkError, match=f"its smallest input is {least} x {least}"):
        nets.create(name, 3, input_size=(least, least - 1))


def test_the_size_of_the_input_may_be_oblong():
    assert nets.create("resnet18", 3, input_size=(32, 48))(torch.randn(2, 3, 32, 48)).shape == (2, 3)


def test_nearest_sizes_of_maxvit():
    with pytest.raises(NetworkError, match="multiple of 224; the nearest sizes are 224 and 448"):
        nets.preprocessing_for("maxvit_t", 256)


@pytest.mark.parametrize(
    ("name", "asked", "given"),
    [
        ("resnet18", 97, 97),
        ("tiny-darknet", 8, 16),
        ("vit_b_16", 97, 96),
        ("vit_b_16", 105, 112),
        ("vit_b_16", 104, 96),
        ("vit_h_14", 96, 98),
        ("maxvit_t", 96, 224),
        ("mlperf-resnet8", 33, 32),
        ("alexnet", 32, 63),
    ],
)
def test_the_nearest_size_is_one_that_the_network_takes(name, asked, given):
    assert nets.nearest_input_size(name, asked) == given
    nets.check_input_size(name, (given, given))


def test_what_normalises_between_its_layers(tmp_path):
    assert all(nets.about(name).normalised for name in ("resnet18", "vit_b_16", "vgg11_bn"))
    assert not any(nets.about(name).normalised for name in ("squeezenet1_1", "vgg11"))
    file = tmp_path / "net.py"
    text = "from torch import nn\ndef build(k): return nn.Sequential(nn.Conv2d(3, 4, 3){}, nn.AdaptiveAvgPool2d(1), "
    text += "nn.Flatten(), nn.Linear(4, k))"
    for norm, more, expected in (("", 0, False), (", nn.GroupNorm(2, 4)", 8, True)):
        file.write_text(text.format(norm))
        found = nets.about(f"{file}:build")
        assert (found.normalised, found.parameters) == (expected, 3 * 4 * 9 + 4 + more + 4 * 2 + 2)
