"""The user's own network: ``path/to/net.py:build``, where ``build(num_classes)`` returns an ``nn.Module``.

The module takes normalised pixels (N, 3, H, W) and returns logits (N, K). It is cut at its last linear layer (an
``nn.Linear``, or a 1x1 convolution under global pooling), and the cut is proven on numbers before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgexfer.errors import NetworkError
from edgexfer.files import sha256_file
from edgexfer.nets.network import Network
from edgexfer.nets.split import SplitNetwork, is_head

_TOLERANCE = 1e-4
_WANTED = "build(num_classes) has to return an nn.Module that gives logits (N, num_classes) from pixels (N, 3, H, W)"


def is_own(name: str) -> bool:
    """Whether ``name`` is of the form ``path/to/net.py:build``."""
    path, colon, function = name.rpartition(":")
    return bool(colon) and path.endswith(".py") and function.isidentifier()


def refuse_missing_builder(name: str) -> None:
    """Refuses ``path/to/net.py`` without the function.

    Raises:
        NetworkError: ``name`` is a Python file.
    """
    if name.endswith((".py", ".py:")):
        raise NetworkError(f"{name!r} names a file but no function; write {name.rstrip(':')}:build")


def source_sha256(name: str) -> str:
    """SHA-256 of the file behind ``path/to/net.py:build``.

    Raises:
        NetworkError: There is no such file.
    """
    return sha256_file(_file(name))


def build(name: str, num_classes: int, input_size: tuple[int, int]) -> Network:
    """Builds the user's network and cuts it.

    Raises:
        NetworkError: The file or function is missing or fails, or the network cannot be run or cut.
    """
    function = name.rpartition(":")[2]
    with _importable(_file(name)) as namespace:
        maker: Callable[[int], Any] | None = getattr(namespace, function, None)
        if not callable(maker):
            raise NetworkError(f"{_file(name).name} has no function {function!r}; {_WANTED}")
        try:
            model = maker(num_classes)
        except Exception as error:
            raise NetworkError(f"{name}: {function}({num_classes}) raised {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise NetworkError(f"{name}: {function}({num_classes}) returned {type(model).__name__}; {_WANTED}")
    if isinstance(model, Network) and model.num_classes == num_classes:
        return model
    return cut(model, num_classes, input_size, name)


def cut(model: nn.Module, num_classes: int, input_size: tuple[int, int], name: str) -> SplitNetwork:
    """Cuts ``model`` at the last linear layer that runs, and proves ``classify(embed(x))`` against the uncut network.

    Raises:
        NetworkError: It cannot be run at that size, does not give logits, or cannot be cut.
    """
    x = torch.randn((2, 3, *input_size), generator=torch.Generator().manual_seed(0))
    was_training = model.training
    model.eval()
    logits, path = _run(model, x, num_classes, name)
    net = SplitNetwork(model, path, num_classes)
    try:
        with torch.no_grad():
            embedding = net.embed(x)
            again = net.classify(embedding)
        agree = again.shape == logits.shape and bool(
            (again - logits).abs().max() <= _TOLERANCE * logits.abs().max().clamp_min(1e-12)
        )
    except Exception as error:
        raise NetworkError(f"{name} cannot be cut at {path!r} ({error}); {_advice()}") from error
    if not agree:
        raise NetworkError(f"{name} cannot be cut at {path!r}: its output is not what that layer gives; {_advice()}")
    return net.train(was_training)


def _run(model: nn.Module, x: torch.Tensor, num_classes: int, name: str) -> tuple[torch.Tensor, str]:
    """The logits, and the path of the linear layer that ran last."""
    calls: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, _o, path=path: calls.append(path))
        for path, module in model.named_modules()
        if path and is_head(module)
    ]
    try:
        with torch.no_grad():
            logits = model(x)
    except Exception as error:
        size = f"{x.shape[2]} x {x.shape[3]}"
        raise NetworkError(f"{name} cannot take pictures of {size} pixels: {type(error).__name__}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (len(x), num_classes):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise NetworkError(f"{name} gives {found} for two pictures; expected logits of shape {(len(x), num_classes)}")
    if not calls or calls.count(calls[-1]) > 1:
        raise NetworkError(f"{name} has no last linear layer that runs once; {_advice()}")
    return logits, calls[-1]


def _advice() -> str:
    return (
        "let the network end in an nn.Linear, or in a 1x1 nn.Conv2d and global average pooling, with nothing after it"
        " (no softmax: edgexfer takes logits)"
    )


def _file(name: str) -> Path:
    file = Path(name.rpartition(":")[0]).expanduser()
    if not file.is_file():
        raise NetworkError(f"there is no file {str(file)!r}; a network of your own is path/to/net.py:build")
    return file


@contextlib.contextmanager
def _importable(file: Path) -> Iterator[Any]:
    """The file's namespace; its folder can be imported from while the block runs, as for a script."""
    unique = "_edgexfer_own_" + hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(unique, file)
    if spec is None or spec.loader is None:
        raise NetworkError(f"{str(file)!r} cannot be imported as Python")
    namespace = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[unique] = namespace
    try:
        try:
            spec.loader.exec_module(namespace)
        except (Exception, SystemExit) as error:
            raise NetworkError(f"{str(file)!r} cannot be imported: {type(error).__name__}: {error}") from error
        yield namespace
    finally:
        sys.path.remove(folder)
