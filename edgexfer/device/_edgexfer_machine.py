"""What the machine is: what stays as it is during a measurement and is compared between two results.

Standard library only. What moves is ``_edgexfer_sensors``'s.
"""

from __future__ import annotations

import os
import platform
import re
from typing import Any, Dict, List, Optional

import _edgexfer_board as board
from _edgexfer_board import read as _text
from _edgexfer_sensors import governor, memory

FEATURES = (
    "asimd asimdhp asimddp i8mm bf16 sve sve2"
    " sse4_2 avx avx2 fma f16c avx512f avx512_vnni avx512_bf16 avx_vnni amx_int8"
).split()


def describe() -> Dict[str, Any]:
    """Host, system, processor, memory and governor."""
    info = _text("/proc/cpuinfo")
    name = _board()
    return {
        "host": platform.node(),
        "system": platform.system(),
        "release": platform.release(),
        "distribution": _distribution(),
        "architecture": platform.machine(),
        "bits": 64 if platform.architecture()[0] == "64bit" else 32,
        "board": name,
        "kind": board.kind(name, platform.machine()),
        "cpu": _cpu(info),
        "cpu_features": [f for f in FEATURES if re.search(rf"\b{f}\b", info)],
        "cores": os.cpu_count(),
        "memory_bytes": memory("MemTotal"),
        "governor": governor(),
        "container": board.container(),
        "cgroup": board.cgroup(),
        "virtual": board.hypervisor(),
        "python": platform.python_version(),
    }


def peak_rss_bytes() -> Optional[int]:
    """Largest resident memory of this process so far; ``VmHWM``, since ``ru_maxrss`` also counts its parent."""
    match = re.search(r"VmHWM:\s*(\d+) kB", _text("/proc/self/status"))
    if match:
        return int(match.group(1)) * 1024
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def affinity() -> Optional[List[int]]:
    """The cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _board() -> Optional[str]:
    text = _text("/proc/device-tree/model") or _text("/sys/firmware/devicetree/base/model")
    if not text:
        text = " ".join(_text(f"/sys/class/dmi/id/{n}").strip() for n in ("sys_vendor", "product_name"))
    return text.replace("\0", "").strip() or None


def _cpu(info: str) -> Optional[str]:
    names = {
        ("0x41", "0xd03"): "Cortex-A53",
        ("0x41", "0xd04"): "Cortex-A35",
        ("0x41", "0xd05"): "Cortex-A55",
        ("0x41", "0xd07"): "Cortex-A57",
        ("0x41", "0xd08"): "Cortex-A72",
        ("0x41", "0xd0b"): "Cortex-A76",
        ("0x41", "0xd0c"): "Neoverse-N1",
        ("0x41", "0xd40"): "Neoverse-V1",
        ("0x41", "0xd42"): "Cortex-A78AE",
    }
    match = re.search(r"^model name\s*: (.+)$", info, re.MULTILINE)
    if match:
        return match.group(1).strip()
    maker = re.findall(r"^CPU implementer\s*: (\S+)", info, re.MULTILINE)
    part = re.findall(r"^CPU part\s*: (\S+)", info, re.MULTILINE)
    kinds = sorted({names.get(pair, "part " + pair[1]) for pair in zip(maker, part)})
    return "+".join(kinds) or platform.processor() or None


def _distribution() -> Optional[str]:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text("/etc/os-release"), re.MULTILINE)
    return match.group(1) if match else None
