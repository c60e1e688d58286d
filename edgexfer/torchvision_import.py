"""The one place where torchvision is imported.

A CPU build of torch beside torchvision's default wheel (built for CUDA) cannot load torchvision's compiled operators,
and ``import torchvision`` then stops at ``operator torchvision::nms does not exist``: torchvision describes operators
that were never registered. edgexfer uses none of them, so the missing *schemas* are registered first. Where the
compiled operators load, nothing is registered.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from edgexfer.errors import EdgexferError

# The schemas of the operators that torchvision describes at import, whether or not they were compiled.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_DESCRIBED = re.compile(r"""@torch\Wlibrary\W(?:register_fake|impl_abstract)\(\s*["']torchvision::(\w+)["']""")
_REMEDY = "install the pair that belongs together, for example pip install torch==2.13.0 torchvision==0.28.0"


def import_torchvision() -> ModuleType:
    """Imports torchvision, with stand-in schemas for compiled operators that this build of torch cannot load.

    Returns:
        The module ``torchvision``, with ``datasets``, ``models`` and ``transforms`` usable.

    Raises:
        EdgexferError: torchvision is not installed, or does not fit the installed torch.
    """
    if "torchvision" not in sys.modules:
        _register_missing()
    try:
        return importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise EdgexferError(f"torchvision cannot be imported beside this torch ({error}); {_REMEDY}") from error


@functools.cache
def _register_missing() -> Any:
    """Registers the schemas that torchvision asks for and nobody defined; the library lives as long as the process."""
    import torch
    from torch import library as torch_library

    folder = _folder()
    if _compiled_operators_load(folder):
        return None
    library = torch_library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in sorted({*_SCHEMAS, *_described_operators(folder)}):
        if not hasattr(torch.ops.torchvision, name):
            library.define(_SCHEMAS.get(name, f"{name}(Tensor self) -> Tensor"))  # type: ignore[no-untyped-call]
    return library


def _folder() -> Path:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise EdgexferError("torchvision is not installed; pip install torchvision")
    return Path(spec.origin).parent


def _compiled_operators_load(folder: Path) -> bool:
    import torch

    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = folder / f"_C{suffix}"
        if library.is_file():
            with contextlib.suppress(OSError):
                torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
                return True
    return False


def _described_operators(folder: Path) -> list[str]:
    """Names of the operators whose shapes torchvision describes unconditionally."""
    with contextlib.suppress(OSError):
        return _DESCRIBED.findall((folder / "_meta_registrations.py").read_text(encoding="utf-8"))
    return []
