from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgexfer.export.exporter import ExportResult, export_network
from tests.export.nets import SmallNet, pictures_for, request_for


@pytest.fixture(scope="session")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallNet, ExportResult]:
    """An artifact with its BatchNorm kept, exported once for all tests that only read it."""
    torch.set_num_threads(1)
    net = SmallNet()
    out: Path = tmp_path_factory.mktemp("unfolded") / "small.onnx"
    return net, export_network(net, request_for(fold_bn=False), out, pictures=pictures_for())
