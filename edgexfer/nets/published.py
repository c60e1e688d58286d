"""torchvision's published ImageNet weights: found in the hub's folder, or downloaded there once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

import torch.hub

from edgexfer.errors import WeightsError
from edgexfer.nets.table import TABLE
from edgexfer.torchvision_import import import_torchvision

_HASH = re.compile(r"-([0-9a-f]{8,})\.")


def imagenet_file(name: str) -> Path:
    """The file with torchvision's default weights for ``name``.

    Raises:
        WeightsError: None are published for that name, there is no network, or what came is damaged.
    """
    known = TABLE.get(name)
    if known is None or not known.file:
        raise WeightsError(
            f"no ImageNet weights are published for download for {name!r}; pass --weights FILE or --weights none, or"
            " choose one of torchvision's networks (edgexfer models lists them)"
        )
    url: str = import_torchvision().models.get_model_weights(name).DEFAULT.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
    if not file.is_file():
        _download(name, url, file)
    _check_hash(file)
    return file


def _download(name: str, url: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=True)
    except (OSError, RuntimeError) as error:  # URLError and HTTPError are OSErrors
        raise WeightsError(
            f"the ImageNet weights for {name!r} cannot be downloaded ({error}); get {file.name} from {url} on a machine"
            f" with a network, then pass --weights FILE, or put it into {str(file.parent)!r}"
        ) from error


def _check_hash(file: Path) -> None:
    """Refuses a file whose content does not begin with the digest that its author put into its name."""
    named = _HASH.search(file.name)
    if named is None:
        return
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(named[1]):
        raise WeightsError(f"{str(file)!r} is damaged: its SHA-256 is {digest}; delete it and get it anew")
