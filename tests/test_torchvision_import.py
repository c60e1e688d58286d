import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from edgexfer import torchvision_import
from edgexfer.errors import EdgexferError


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fresh_process_imports_torchvision_and_its_networks_run() -> None:
    out = run(
        "from edgexfer.torchvision_import import import_torchvision as go\n"
        "tv = go(); assert go() is tv\n"
        "import torch\n"
        "net = tv.models.squeezenet1_1(num_classes=3).eval()\n"
        "print(tuple(net(torch.zeros(1, 3, 64, 64)).shape), tv.datasets.MNIST.__name__)"
    )
    assert out.strip() == "(1, 3) MNIST"


def test_nothing_is_registered_where_the_compiled_operators_load() -> None:
    out = run(
        "import torch\n"
        "from edgexfer import torchvision_import as t\n"
        "t._compiled_operators_load = lambda folder: True\n"
        "print(t._register_missing(), hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert out.strip() == "None False"


def test_operators_of_a_newer_torchvision_are_found_in_its_source(tmp_path) -> None:
    register = ".".join(("@torch", "library", "register_fake"))
    source = f'{register}("torchvision::nms")\ndef f(): ...\n'
    source += f"{register}(\n    'torchvision::soft_nms'\n)\ndef g(): ...\n"
    (tmp_path / "_meta_registrations.py").write_text(source)
    assert torchvision_import._described_operators(tmp_path) == ["nms", "soft_nms"]
    assert torchvision_import._described_operators(tmp_path / "none") == []


def test_missing_torchvision_names_the_remedy(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EdgexferError, match="pip install torchvision"):
        torchvision_import._folder()


def test_torchvision_that_does_not_fit_names_the_remedy(monkeypatch) -> None:
    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::other does not exist")

    monkeypatch.setattr(torchvision_import, "_register_missing", lambda: None)
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(EdgexferError, match="torchvision::other.*belongs together"):
        torchvision_import.import_torchvision()
