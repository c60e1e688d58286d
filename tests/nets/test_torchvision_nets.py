import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgexfer import nets
from edgexfer.errors import NetworkError, WeightsError
from edgexfer.torchvision_import import import_torchvision
from tests.batchnorms import lived_in

FAMILIES = [
    "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "swin_t", "swin_v2_t", "squeezenet1_1",
]  # fmt: skip


def published(name, **options):
    return import_torchvision().models.get_model(name, weights=None, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_32_pixels_and_is_cut_exactly(name, close):
    net = lived_in(nets.create(name, 6, input_size=(32, 32)))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits, embedding = net(x), net.embed(x)
        assert logits.shape == (2, 6) and embedding.shape == (2, net.embedding_dim)
        assert close(net.classify(embedding), logits)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet", "mnasnet0_5", "swin_t"])
def test_torchvisions_own_keys_load_and_give_torchvisions_function(name, close, tmp_path):
    options = {"init_weights": False} if name == "googlenet" else {}
    model = lived_in(published(name, num_classes=9, **options))
    torch.save(model.state_dict(), tmp_path / "file.pth")
    net = nets.create(name, 9, weights=tmp_path / "file.pth", input_size=(32, 32), seed=3).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert close(net(x), model(x))


def test_a_new_head_leaves_the_loaded_body(tmp_path, close):
    model = published("resnet18", num_classes=9).eval()
    torch.save(model.state_dict(), tmp_path / "file.pth")
    net = nets.create("resnet18", 4, weights=tmp_path / "file.pth", input_size=(32, 32)).eval()
    model.fc = nn.Identity()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert close(net.embed(x), model(x))
        assert net(x).shape == (2, 4)


def test_auxiliary_classifiers_are_off():
    net = nets.create("googlenet", 3, input_size=(32, 32)).train()
    assert isinstance(net(torch.randn(2, 3, 32, 32)), torch.Tensor)
    assert not [key for key in net.state_dict() if "aux" in key.lower()]


def test_half_mean_is_what_transform_input_does(close):
    pixels = torch.rand(2, 3, 64, 64)
    model = published("googlenet", num_classes=3, aux_logits=False, init_weights=False, transform_input=True)
    mine = nets.preprocessing_for("googlenet", 64)
    imagenet = nets.preprocessing_for("resnet18")
    usual = (pixels - torch.tensor(imagenet.mean).view(3, 1, 1)) / torch.tensor(imagenet.std).view(3, 1, 1)
    half = (pixels - torch.tensor(mine.mean).view(3, 1, 1)) / torch.tensor(mine.std).view(3, 1, 1)
    assert close(half, model._transform_input(usual))


def test_squeezenet_learns_with_a_linear_head_after_global_pooling():
    net = nets.create("squeezenet1_1", 3, input_size=(32, 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert isinstance(net.head, nn.Linear)
        assert torch.equal(net.embed(x), net.features(x).mean((2, 3)))
        assert (net(x) < 0).any()  # not squashed


def squeezenet_file(folder, classes):
    torch.manual_seed(2)
    model = published("squeezenet1_1", num_classes=classes).eval()
    nn.init.normal_(model.classifier[1].bias)
    torch.save(model.state_dict(), folder / "squeezenet.pth")
    return model, folder / "squeezenet.pth"


def test_published_squeezenet_is_the_published_function_until_its_head_is_replaced(tmp_path, close):
    model, file = squeezenet_file(tmp_path, 7)
    net = nets.create("squeezenet1_1", 7, weights=file, input_size=(32, 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert close(net(x), model(x))
        assert (net(x) >= 0).all() and (net(x) > 0).any()
        assert close(net.classify(net.embed(x)), net(x))
    assert net.embedding_dim == net.num_classes == 7
    assert nets.head_parameters(net) == []
    assert net.state_dict().keys() == model.state_dict().keys()
    nets.reset_head(net, 7, seed=0)
    assert net.embedding_dim == 512 and len(nets.head_parameters(net)) == 2
    with torch.no_grad():
        assert torch.equal(net.embed(x), model.features(x).mean((2, 3)))


def test_squeezenet_for_other_classes_gets_the_linear_head(tmp_path):
    model, file = squeezenet_file(tmp_path, 7)
    net = nets.create("squeezenet1_1", 4, weights=file, input_size=(32, 32))
    assert isinstance(net.head, nn.Linear) and net.classifier is None and net.num_classes == 4
    assert torch.equal(net.features[0].weight, model.features[0].weight)


def test_both_forms_of_squeezenet_survive_a_file(tmp_path, close):
    x = torch.randn(2, 3, 32, 32)
    _, file = squeezenet_file(tmp_path, 7)
    for weights in ("none", file):
        net = nets.create("squeezenet1_1", 7, weights=weights, input_size=(32, 32), seed=5).eval()
        torch.save(net.state_dict(), tmp_path / "again.pth")
        again = nets.create("squeezenet1_1", 7, weights=tmp_path / "again.pth", input_size=(32, 32)).eval()
        nets.load_weights(again, tmp_path / "again.pth")
        with torch.no_grad():
            assert close(again(x), net(x))


def test_vit_takes_squares_of_whole_patches_only():
    assert nets.create("vit_b_32", 3, input_size=(64, 64))(torch.randn(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(NetworkError, match="vit_b_16 cannot take 40 x 40 pixels: .* multiple of 16; .* 32 and 48"):
        nets.create("vit_b_16", 3, input_size=(40, 40))
    with pytest.raises(NetworkError, match="square pictures only"):
        nets.create("vit_b_16", 3, input_size=(32, 64))


def test_vit_weights_of_another_size_bring_their_positions_along(tmp_path):
    large = nets.create("vit_b_32", 3, input_size=(128, 128))
    torch.save(large.state_dict(), tmp_path / "large.pth")
    net = nets.create("vit_b_32", 3, weights=tmp_path / "large.pth", input_size=(64, 64))
    old = large.state_dict()["body.encoder.pos_embedding"]
    new = net.state_dict()["body.encoder.pos_embedding"]
    assert new.shape == (1, 5, 768)
    assert torch.equal(new[:, 0], old[:, 0])
    corners = old[:, 1:].reshape(4, 4, 768)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.allclose(new[0, 1:], corners, atol=1e-5)  # aligned corners stay where they were


def test_older_key_names_are_read(tmp_path):
    densenet = published("densenet121", num_classes=2)
    old = {}
    for key, value in densenet.state_dict().items():
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    net = nets.create("densenet121", 2, weights=tmp_path / "old.pth", input_size=(32, 32))
    assert torch.equal(net.head.weight, densenet.classifier.weight)
    vit = nets.create("vit_b_32", 2, input_size=(32, 32))
    old = {
        k.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v for k, v in vit.state_dict().items()
    }
    torch.save(old, tmp_path / "old.pth")
    nets.load_weights(vit, tmp_path / "old.pth")


@pytest.mark.parametrize("name", ["alexnet", "inception_v3", "maxvit_t"])
def test_what_cannot_take_32_pixels_says_what_it_can(name):
    least = nets.min_input_size(name)
    assert least > 32
    with pytest.raises(NetworkError, match=f"{name} cannot take 32 x 32 pixels: its smallest input is {least} x"):
        nets.create(name, 3, input_size=(32, 32))


def test_maxvit_gets_a_bias_that_changes_nothing(close):
    net = nets.create("maxvit_t", 3).eval()
    assert torch.equal(net.head.bias, torch.zeros(3))
    assert F.linear(torch.ones(1, net.embedding_dim), net.head.weight).shape == (1, 3)
    assert math.isfinite(net.head.weight.std().item())


def test_maxvits_published_file_has_no_bias(tmp_path):
    model = published("maxvit_t", num_classes=3, input_size=(224, 224))
    torch.save(model.state_dict(), tmp_path / "file.pth")
    net = nets.create("maxvit_t", 3, weights=tmp_path / "file.pth")
    assert torch.equal(net.head.weight, model.classifier[5].weight)
    assert torch.equal(net.head.bias, torch.zeros(3))


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 1, 4), (1, 5, 0), (2, 5, 4), (1, 6, 4)])
def test_position_embeddings_of_odd_shapes_are_left_to_the_check_of_shapes(shape):
    from edgexfer.nets.torchvision_nets import _resized_positions

    assert _resized_positions(torch.zeros(shape), 10).shape == shape
    assert _resized_positions(torch.zeros(1, 5, 4), 10).shape == (1, 10, 4)


def test_a_classifier_without_dimensions_does_not_fit(tmp_path):
    torch.save({"classifier.1.weight": torch.tensor(1.0)}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"does not fit SqueezeNet.*misshapen: classifier.1.weight \(\) instead of"):
        nets.create("squeezenet1_1", 3, weights=tmp_path / "odd.pth", input_size=(32, 32))
