"""What every result file says of how it was made."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

OUTSIDE = re.compile(r"(?<![^=,])(?:/|~|\.\.)[^=,]*")
"""A path that leads out of the working folder, also behind ``--option=`` or in a list with commas."""


def command() -> str:
    """The command as it was typed, but of paths outside the working folder only the last part: not a machine's own."""
    script, *words = sys.argv
    return shlex.join(["python", f"benchmarks/{Path(script).name}", *map(public, words)])


def public(word: str) -> str:
    """``word`` without the folders of a machine."""
    return OUTSIDE.sub(lambda path: Path(path[0]).name, word)


def header(**further: Any) -> dict[str, Any]:
    """Format, time, the command, and the machine; ``further`` goes into the machine."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return {
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": model.group(1).strip() if model else platform.processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            **further,
        },
    }
