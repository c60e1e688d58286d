"""Weight files: read without running anything in them, unwrapped, and loaded strictly.

Accepted are safetensors, whatever ``torch.load(weights_only=True)`` reads, and Darknet's own ``.weights`` for Tiny
Darknet. A checkpoint that holds more than tensors is unwrapped; prefixes that wrappers leave are stripped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from edgexfer.errors import WeightsError
from edgexfer.nets.darknet import darknet_classes, load_darknet
from edgexfer.nets.network import Network, seeded
from edgexfer.nets.split import SplitNetwork
from edgexfer.nets.tiny_darknet import TinyDarknet
from edgexfer.runs import WEIGHTS_FILE

NESTS = ("state_dict", "model", "model_ema")
PREFIXES = ("module.", "_orig_mod.")
MOST_NESTS = 8
DARKNET_SUFFIX = ".weights"
_SHOWN = 6
# how torch's restricted unpickler says that it met more than data
_SIGNS_OF_CODE = ("Unsupported global", "Unsupported class", "Trying to call reduce", "Trying to instantiate")
_COUNTER = "num_batches_tracked"
_NO_MODULE = "save the network's state_dict() with safetensors or torch.save"


def load_weights(net: Network, path: str | Path) -> None:
    """Loads a weight file into ``net``, in place and strictly.

    Args:
        net: A network of this package.
        path: A weight file, or the folder of a run.

    Raises:
        WeightsError: The file cannot be read, was made for another number of classes, or its keys or shapes differ
            from the network's: all of them are listed.
    """
    _load(net, path, any_classes=False)


def load_with_its_classes(net: Network, path: str | Path) -> None:
    """As ``load_weights``, but gives the network the file's number of classes first."""
    _load(net, path, any_classes=True)


def _load(net: Network, path: str | Path, any_classes: bool) -> None:
    file = weights_file(path)
    if file.suffix == DARKNET_SUFFIX:
        if not isinstance(net, TinyDarknet):
            raise WeightsError(
                f"{str(file)!r} is named like a file of Darknet's, which is read for tiny-darknet only, not for"
                f" {_kind(net)}; pass a safetensors or PyTorch file"
            )
        _check_count(net, darknet_classes(net, file), file, any_classes)
        load_darknet(net, file)
        return
    state = net.own_keys(read_state_dict(file))
    _check_count(net, net.file_classes(state), file, any_classes)
    with seeded(0):  # what a fresh head draws is overwritten, and must not move the shared generator
        net.match_head(state)
    _copy(net, state, file)


def _check_count(net: Network, found: int | None, file: Path, any_classes: bool) -> None:
    if not any_classes and found not in (None, net.num_classes):
        raise WeightsError(
            f"{str(file)!r} holds weights for {found} classes, and this network has {net.num_classes}; create the"
            " network with this file as its weights, which puts a new head in place"
        )


def weights_file(path: str | Path) -> Path:
    """The file behind a ``--weights`` path: itself, or the weights inside a run's folder.

    Raises:
        WeightsError: There is no such file.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / WEIGHTS_FILE
    if not file.is_file():
        raise WeightsError(
            f"there is no weight file {str(file)!r}; weights are an existing file, a run's folder, 'imagenet' or 'none'"
        )
    return file


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of a weight file, by name, on the CPU, unwrapped and with wrappers' prefixes stripped.

    Raises:
        WeightsError: The file is missing, damaged, holds code or a whole pickled network, or holds no named tensors.
    """
    file = weights_file(path)
    if file.suffix == DARKNET_SUFFIX:
        raise WeightsError(f"{str(file)!r} is in Darknet's format, which names no tensors: load it into tiny-darknet")
    value = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    state = _strip(_unwrap(value, file))
    # as float32, which networks are: float64 holds larger numbers
    broken = [k for k, tensor in state.items() if tensor.is_floating_point() and not tensor.float().isfinite().all()]
    if broken:
        raise WeightsError(f"{str(file)!r} holds values that are not finite, in {_shortened(broken)}; use another file")
    return state


def _is_safetensors(file: Path) -> bool:
    with file.open("rb") as stream:
        start = stream.read(9)
    fits = int.from_bytes(start[:8], "little") <= file.stat().st_size - 8  # a pickle would claim a huge header
    return file.suffix == ".safetensors" or (start[8:] == b"{" and (start[:1] != b"\x80" or fits))


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{str(file)!r} is not a whole safetensors file: {_line(error)}") from error


def _read_torch(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can raise anything
        if any(sign in str(error) for sign in _SIGNS_OF_CODE):
            raise WeightsError(
                f"{str(file)!r} holds more than tensors and plain values (a whole pickled network, or code), and is not"
                f" read for safety; {_NO_MODULE}"
            ) from error
        raise WeightsError(
            f"{str(file)!r} cannot be read as weights ({type(error).__name__}: {_line(error)}); it may be truncated:"
            " get it anew. Read are safetensors and PyTorch files"
        ) from error


def _unwrap(value: Any, file: Path) -> dict[str, torch.Tensor]:
    """The innermost mapping from names to tensors."""
    for _ in range(MOST_NESTS + 1):
        if not isinstance(value, Mapping):
            break
        inner = next((value[nest] for nest in NESTS if isinstance(value.get(nest), Mapping)), None)
        if inner is None:
            break
        value = inner
    else:  # a mapping can hold itself
        raise WeightsError(
            f"{str(file)!r} nests its tensors more than {MOST_NESTS} deep under {', '.join(NESTS)}; {_NO_MODULE}"
        )
    if not isinstance(value, Mapping):
        raise WeightsError(f"{str(file)!r} holds {type(value).__name__} where named tensors are expected; {_NO_MODULE}")
    odd = [str(key) for key, tensor in value.items() if not isinstance(key, str) or not _is_plain(tensor)]
    if odd or not value:
        found = f"no tensor under {_shortened(odd)}" if odd else "no tensors"
        raise WeightsError(f"{str(file)!r} holds {found}; {_NO_MODULE}, at the top or under {', '.join(NESTS)}")
    return dict(value)


def _is_plain(value: Any) -> bool:
    if not isinstance(value, torch.Tensor):
        return False
    if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
        return False
    # a view that repeats a few values claims any size, and memory with it
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _strip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Strips what DataParallel, averaging and compilation put before every name."""
    averaged = {key: tensor for key, tensor in state.items() if key != "n_averaged"}
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if averaged and all(key.startswith(prefix) for key in averaged):
                averaged = {key.removeprefix(prefix): tensor for key, tensor in averaged.items()}
    return averaged


def _copy(net: Network, state: Mapping[str, torch.Tensor], file: Path) -> None:
    own = net.state_dict()
    optional = net.may_lack()  # besides BatchNorm's step counter, which came late to PyTorch
    missing = [key for key in own if key not in state and key not in optional and not key.endswith(_COUNTER)]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in own.items()
        if key in state and state[key].shape != tensor.shape
    ]
    mistakes = [
        f"{len(keys)} {what}: {_shortened(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if keys
    ]
    if mistakes:
        raise WeightsError(f"{str(file)!r} does not fit {_kind(net)}: {'; '.join(mistakes)}")
    with torch.no_grad():
        for key, tensor in own.items():
            if key in state:
                tensor.copy_(state[key])
            else:
                tensor.zero_()


def _kind(net: Network) -> str:
    """The class that a user knows it by: the uncut network's, where it was cut."""
    return type(net.body if isinstance(net, SplitNetwork) else net).__name__


def _shortened(keys: Sequence[str]) -> str:
    rest = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else "no message"
