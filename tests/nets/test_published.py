import re
import urllib.error

import pytest
import torch

from edgexfer import nets
from edgexfer.errors import WeightsError
from edgexfer.nets import published


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints"


def test_without_network_the_remedy_is_said(hub, monkeypatch):
    def offline(*_args, **_options):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(WeightsError) as caught:
        nets.create("resnet18", 3, weights="imagenet")
    message = str(caught.value)
    assert "no route" in message and "resnet18-f37072fd.pth" in message
    assert "pass --weights FILE" in message and str(hub) in message


def test_a_file_in_the_hubs_folder_is_used(hub, monkeypatch):
    hub.mkdir()
    thousand = nets.create("squeezenet1_1", 1000, input_size=(32, 32), seed=4)
    torch.save(thousand.state_dict(), hub / "squeezenet1_1-b8a52dc0.pth")
    with pytest.raises(WeightsError, match="is damaged: its SHA-256 is .*; delete it and get it anew"):
        nets.create("squeezenet1_1", 3, weights="imagenet")
    monkeypatch.setattr(published, "_HASH", re.compile("nothing names a hash"))
    net = nets.create("squeezenet1_1", 3, weights="imagenet", input_size=(32, 32))
    assert net.num_classes == 3
    assert torch.equal(net.features[0].weight, thousand.features[0].weight)


def test_a_download_is_kept_and_checked(hub, monkeypatch):
    def download(url, target, progress):
        assert url.endswith("/squeezenet1_1-b8a52dc0.pth")
        with open(target, "wb") as stream:
            stream.write(b"something else")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(WeightsError, match="is damaged"):
        nets.create("squeezenet1_1", 3, weights="imagenet")


def test_the_right_digest_passes(hub):
    file = hub / "empty-e3b0c442.pth"  # SHA-256 of nothing
    hub.mkdir()
    file.write_bytes(b"")
    published._check_hash(file)


@pytest.mark.parametrize("name", ["tiny-darknet", "mobilenet-v1", "cifar-resnet20"])
def test_networks_without_published_weights_say_so(name):
    with pytest.raises(WeightsError, match=f"no ImageNet weights are published for download for '{name}'"):
        nets.create(name, 3, weights="imagenet")
