"""Finds a Python that has what a script needs, and turns errors into one line. Standard library only."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import platform
import struct
import sys
from typing import Any, Callable, Mapping, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
PRIVATE = os.path.join(HERE, ".venv", "bin", "python")
AGAIN = "EDGEXFER_STARTED_AGAIN"
PACKAGES = {"PIL": "Pillow"}


class DeviceError(Exception):
    """What the person at the keyboard can mend: what was found, what is allowed, what to do next."""


def is_32_bit() -> bool:
    """Whether this Python is a 32-bit one, for which no onnxruntime wheel exists."""
    return struct.calcsize("P") == 4


def ensure(modules: Sequence[str]) -> None:
    """Makes sure that ``modules`` can be imported; starts again in the bundle's own environment where there is one.

    ``./setup.sh`` makes that environment, ``.venv``, beside the scripts. It goes before the system's own packages,
    which may be old ones, but not before an environment that the person chose. This function does not come back where
    it starts the same command again in there.

    Raises:
        DeviceError: Modules are missing and the private environment cannot help.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    chosen = sys.prefix != sys.base_prefix
    if chosen and not missing:
        return
    if os.access(PRIVATE, os.X_OK) and not _inside_private() and not os.environ.get(AGAIN):
        os.environ[AGAIN] = "1"
        script = os.path.abspath(sys.argv[0])
        os.execv(PRIVATE, [PRIVATE, script, *sys.argv[1:]])
    if missing:
        raise DeviceError(_missing(missing))


def run(main: Callable[[], int]) -> int:
    """Runs a script's ``main``; a ``DeviceError`` becomes one line on stderr and exit code 1, Ctrl-C 130."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no UTF-8, and is written as it is
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        return main()
    except DeviceError as error:
        say(f"{os.path.basename(sys.argv[0])}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:  # the reader of our stdout has left: `predict.py ... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def answer(value: Mapping[str, Any], sort_keys: bool = False) -> None:
    r"""One line of JSON on stdout.

    Bytes of a file's name that are no UTF-8 are escaped as Python holds them in a text, "\udcff" for 0xff, so that
    the line can be read and the name opened.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=sort_keys)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """One line of talk; stdout is for results."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _inside_private() -> bool:
    return os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(HERE, ".venv"))


def _missing(modules: Sequence[str]) -> str:
    names = ", ".join(PACKAGES.get(name, name) for name in modules)
    if "onnxruntime" in modules and is_32_bit():
        return (
            f"this is a 32-bit Python ({platform.machine()}), and there is no onnxruntime for 32-bit systems;"
            " install the 64-bit Raspberry Pi OS (Raspberry Pi 3 and newer, Zero 2 W)"
        )
    if _inside_private():
        private = os.path.dirname(os.path.dirname(PRIVATE))
        return f"the environment {private!r} lacks {names}; run ./setup.sh again, or remove it"
    return f"{names} missing in {sys.executable} (Python {platform.python_version()}); run {HERE}/setup.sh once"
