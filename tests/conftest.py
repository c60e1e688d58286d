"""One thread a test process: two of them share the cores, and sums come out in the same order every time."""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in a shell's background; what tests start hears Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _not_the_developers_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests derive from their pictures is kept apart from the developer's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEXFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _operators_gathered_once() -> Iterator[None]:
    """torch.onnx gathers all of its operators for each export anew, a second each time; here once a process."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is compiled, by a backend that leaves every operation as it is."""
    import torch

    seen: list[object] = []
    real = torch.compile

    def compile_(what: object) -> object:
        seen.append(what)
        return real(what, backend="eager")  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "compile", compile_)
    return seen


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, not made yet, of a cache that no other test shares."""
    folder = tmp_path_factory.mktemp("own") / "cache"
    monkeypatch.setenv("EDGEXFER_CACHE", str(folder))
    return folder
