from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgexfer.export import graph
from edgexfer.export.exporter import ExportResult, Pictures, export_network
from edgexfer.export.quantize import Source
from tests.export.nets import SmallNet, batches, coloured, pictures_for, request_for, trained


@pytest.fixture(scope="session")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallNet, ExportResult]:
    """An artifact with its BatchNorm kept, exported once for all tests that only read it."""
    torch.set_num_threads(1)
    net = SmallNet()
    out: Path = tmp_path_factory.mktemp("unfolded") / "small.onnx"
    return net, export_network(net, request_for(fold_bn=False), out, pictures=pictures_for())


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportResult, list[str]]:
    """A small trained net as float32 and int8 for x86."""
    torch.set_num_threads(1)
    images, labels = coloured(40, seed=5)
    said: list[str] = []
    result = export_network(
        trained(),
        request_for(int8=True, target="x86"),
        tmp_path_factory.mktemp("int8") / "small.onnx",
        pictures=Pictures(images, labels, batches()),
        say=said.append,
    )
    return result, said


@pytest.fixture(scope="session")
def source(quantized: tuple[ExportResult, list[str]]) -> Source:
    """Its float32 file, as quantizing takes it."""
    path = quantized[0].artifact
    return Source(graph.load_model(path), quantized[0].info, path.read_bytes())
