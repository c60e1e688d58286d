"""What runs on the device: plain files that a bundle carries as they are.

``bench.py``, ``predict.py`` and ``adapt.py`` are the scripts, ``_edgexfer_*.py`` the little they share. They import
each other absolutely and otherwise only the standard library, numpy, onnxruntime and Pillow, so that a copy of the
files is all a board needs (Python 3.9 and newer). This module is not part of a bundle: it lets the workstation use
the very same code, so that what a device does is what was proven here. ``edgexfer.data`` prepares whole data sets by
the same rules, to the bit (tested), without this folder's tie to Python 3.9.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from edgexfer.errors import DeviceError

PREFIX = "_edgexfer_"
SCRIPTS = ("bench.py", "predict.py", "adapt.py")
_HERE = Path(__file__).resolve().parent


def script(name: str) -> Path:
    """The path of a device file.

    Args:
        name: ``"bench.py"``, ``"setup.sh"`` and so on; a bare ``"bench"`` means the Python script.

    Raises:
        DeviceError: There is no such file.
    """
    path = _HERE / (name if "." in name else f"{name}.py")
    if path.name not in {p.name for p in bundle_files()}:
        known = ", ".join(p.name for p in bundle_files())
        raise DeviceError(f"no device file is called {name!r}; known: {known}")
    return path


def bundle_files() -> tuple[Path, ...]:
    """Every file of this folder that goes into a bundle, in the order of their names."""
    siblings = sorted(_HERE.glob(f"{PREFIX}*.py"))
    return (*(_HERE / name for name in (*SCRIPTS, "setup.sh", "README.txt")), *siblings)


def load(name: str) -> ModuleType:
    """Imports a module that the device scripts share, ``"_edgexfer_model"`` for one, by its own name.

    Raises:
        DeviceError: There is no such module.
    """
    if not name.startswith(PREFIX) or not (_HERE / f"{name}.py").is_file():
        known = ", ".join(p.stem for p in sorted(_HERE.glob(f"{PREFIX}*.py")))
        raise DeviceError(f"no device module is called {name!r}; known: {known}")
    if not any(isinstance(finder, _Siblings) for finder in sys.meta_path):
        sys.meta_path.append(_Siblings())
    return importlib.import_module(name)


class _Siblings(importlib.abc.MetaPathFinder):
    """Finds ``_edgexfer_*`` modules in this folder without putting the whole folder on ``sys.path``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = _HERE / f"{fullname}.py"
        if not fullname.startswith(PREFIX) or not file.is_file():
            return None
        return importlib.util.spec_from_file_location(fullname, file)
