"""Tiny networks of torchvision's families, in the usual and the oldest form; all: benchmarks/export_everything.py."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.errors import ExportError
from edgexfer.export import exporter, graph
from edgexfer.export.exporter import ExportRequest, Pictures, export_network
from edgexfer.export.metadata import read_info
from edgexfer.export.parity import reference
from edgexfer.export.targets import RUNTIMES, Form, form_for
from edgexfer.export.torch_onnx import to_onnx
from edgexfer.fold.onnxfile.view import View, averages_channels
from edgexfer.nets.counting import without_memory
from edgexfer.nets.network import Network
from edgexfer.nets.split import SplitNetwork, last_linear
from edgexfer.preprocessing import square
from edgexfer.torchvision_import import import_torchvision
from tests.batchnorms import lived_in
from tests.export.nets import make_pixels

OLDEST = ".".join(map(str, min(RUNTIMES)))
RULE = square(32)
CLASSES = ("daisy", "rose", "löwenzahn")
LARGEST_DIFFERENCE = 1e-5
"""Of the largest logit."""


def tiny_regnet(models: ModuleType) -> nn.Module:
    block = models.regnet.BlockParams.from_init_params(depth=3, w_0=16, w_a=16, w_m=2.5, group_width=8, se_ratio=0.25)
    return models.regnet.RegNet(block, num_classes=3)  # type: ignore[no-any-return]


def tiny_efficientnet(models: ModuleType) -> nn.Module:
    plain = functools.partial(models.efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
    fused = models.efficientnet.FusedMBConvConfig
    settings = [fused(2, 3, 2, 8, 8, 1), plain(4, 3, 2, 8, 16, 1), plain(4, 5, 1, 16, 16, 1)]
    return models.EfficientNet(settings, dropout=0.2, last_channel=32, num_classes=3)  # type: ignore[no-any-return]


def tiny_convnext(models: ModuleType) -> nn.Module:
    settings = [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(settings, layer_scale=0.5, num_classes=3)  # type: ignore[no-any-return]


def tiny_vit(models: ModuleType) -> nn.Module:
    return models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=3)  # type: ignore[no-any-return]


def tiny_swin(models: ModuleType, version: int) -> nn.Module:
    swin = models.swin_transformer
    kinds = {1: {}, 2: {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}}
    depths = [3 - version, 1]  # the second block of a stage shifts its windows; in one of the versions is enough
    return swin.SwinTransformer([4, 4], 8, depths, [2, 2], [4, 4], num_classes=3, **kinds[version])  # type: ignore[no-any-return]


def tiny_maxvit(models: ModuleType) -> nn.Module:
    return models.MaxVit((32, 32), 8, 4, [8], [1], 8, 0.0, num_classes=3)  # type: ignore[no-any-return]


def tiny_shufflenet(models: ModuleType) -> nn.Module:
    return models.ShuffleNetV2([2, 1, 1], [8, 8, 16, 32, 32], num_classes=3)  # type: ignore[no-any-return]


def tiny_densenet(models: ModuleType) -> nn.Module:
    return models.DenseNet(4, (2, 2), 8, 2, num_classes=3)  # type: ignore[no-any-return]


TINY: dict[str, Callable[[ModuleType], nn.Module]] = {
    "shufflenet": tiny_shufflenet,
    "densenet": tiny_densenet,
    "regnet": tiny_regnet,
    "efficientnet": tiny_efficientnet,
    "convnext": tiny_convnext,
    "vit": tiny_vit,
    "swin": functools.partial(tiny_swin, version=1),
    "swin_v2": functools.partial(tiny_swin, version=2),
    "maxvit": tiny_maxvit,
}


def livened(net: Network) -> Network:
    """BatchNorms lived in, a head that is not zero, and no scale or bias that would hide a mistake."""
    lived_in(net)
    nets.reset_head(net, len(CLASSES))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.min() == parameter.max():
                parameter.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def is_right(path: Path, net: Network, form: Form) -> None:
    """Holds a file against PyTorch at batch 1, 3 and 8, and against what was asked for."""
    model, info = onnx.load(path), read_info(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", form.opset)]
    assert model.ir_version == form.ir_version
    assert info.classes == CLASSES and info.preprocessing == RULE
    assert len(graph.batchnorms(model)) == len(info.batchnorm_kept)
    view = View(model)
    of_pixels = [i for i, n in enumerate(view.nodes) if averages_channels(view, i) and view.ranks[n.input[0]] == 4]
    assert {view.nodes[i].op_type for i in of_pixels} <= {"GlobalAveragePool"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = make_pixels(12, RULE, seed=3)
    for cut in (slice(0, 1), slice(1, 4), slice(4, 12)):
        wanted = reference(net, pixels[cut], RULE).logits
        found = session.run(["logits"], {"image": pixels[cut]})[0]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=LARGEST_DIFFERENCE * np.abs(wanted).max())


def is_right_in_both_forms(net: Network, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports in the usual form and in the oldest; what PyTorch's exporter makes, the slow part, is made once."""
    made: list[onnx.ModelProto] = []

    def once(*arguments: Any) -> onnx.ModelProto:
        if not made:
            made.append(to_onnx(*arguments))
        return copy.deepcopy(made[0])

    monkeypatch.setattr(exporter, "to_onnx", once)
    told = Pictures(make_pixels(4, RULE, seed=2), np.zeros(4, np.int64))
    for runtime in (None, OLDEST):
        out = folder / f"{runtime}.onnx"
        exporter.export_network(
            net, ExportRequest(name, CLASSES, RULE, "0" * 64, runtime_version=runtime), out, pictures=told
        )
        is_right(out, net, form_for(runtime))


def test_a_network_of_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = livened(nets.create("squeezenet1_1", len(CLASSES), input_size=(32, 32)))
    is_right_in_both_forms(net, "squeezenet1_1", tmp_path, monkeypatch)


@pytest.mark.parametrize("family", TINY)
def test_a_tiny_network_of_each_family(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = TINY[family](import_torchvision().models)
    net = livened(SplitNetwork(model, last_linear(model), len(CLASSES)))
    is_right_in_both_forms(net, family, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["vit_h_14", "regnet_y_128gf"])
def test_a_network_that_fits_in_no_file_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    rule = nets.preprocessing_for("resnet18", 56)
    with without_memory():  # its values are not there, and nothing may ask for them
        net = nets.create(name, len(CLASSES), input_size=(56, 56))
    told = Pictures(make_pixels(1, rule), np.zeros(1, np.int64))
    with pytest.raises(ExportError, match=r"parameters take 2\.5\d GB in float32; one ONNX file holds 2\.15 GB"):
        export_network(net, ExportRequest(name, CLASSES, rule, "0" * 64), tmp_path / "large.onnx", pictures=told)
    assert list(tmp_path.iterdir()) == []
