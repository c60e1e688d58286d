"""What the machine is, and the state it is in, as far as it tells. Standard library only.

``describe`` gives what stays as it is during a measurement and is compared between two results; ``Sensors.observe``
gives what moves: temperature, clock, load, and the Raspberry Pi's throttle bits.
"""

from __future__ import annotations

import glob
import os
import platform
import re
import shutil
import subprocess
import time
from typing import Any, Dict, List, Optional

FEATURES = (
    "asimd asimdhp asimddp i8mm bf16 sve sve2"
    " sse4_2 avx avx2 fma f16c avx512f avx512_vnni avx512_bf16 avx_vnni amx_int8"
).split()
THROTTLE = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
STICKY_SHIFT = 16


def describe() -> Dict[str, Any]:
    """Host, system, processor, memory and governor."""
    info = _text("/proc/cpuinfo")
    return {
        "host": platform.node(),
        "system": platform.system(),
        "release": platform.release(),
        "distribution": _distribution(),
        "architecture": platform.machine(),
        "bits": 64 if platform.architecture()[0] == "64bit" else 32,
        "board": _board(),
        "cpu": _cpu(info),
        "cpu_features": [f for f in FEATURES if re.search(rf"\b{f}\b", info)],
        "cores": os.cpu_count(),
        "memory_bytes": _memory("MemTotal"),
        "governor": governor(),
        "container": _container(),
        "python": platform.python_version(),
    }


def governor() -> Optional[str]:
    """The frequency governor of all cores, joined by commas where they differ; ``None`` where the system has none."""
    names = {_text(p).strip() for p in glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")}
    return ",".join(sorted(n for n in names if n)) or None


def throttle_bits(value: int) -> Dict[str, List[str]]:
    """The Raspberry Pi's ``get_throttled`` in words: ``live`` now, ``sticky`` since boot."""
    return {
        "live": [word for bit, word in THROTTLE.items() if value >> bit & 1],
        "sticky": [word for bit, word in THROTTLE.items() if value >> (bit + STICKY_SHIFT) & 1],
    }


class Sensors:
    """Reads what moves. Paths are looked up once, so that ``observe`` costs well under a millisecond."""

    def __init__(self, root: str = "/") -> None:
        self._temperature = _thermal_zone(root)
        cpufreq = os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq")
        self._requested = sorted(glob.glob(os.path.join(cpufreq, "scaling_cur_freq")))
        self._real = [p for p in sorted(glob.glob(os.path.join(cpufreq, "cpuinfo_cur_freq"))) if os.access(p, os.R_OK)]
        throttled = glob.glob(os.path.join(root, "sys/devices/platform/soc*/*firmware/get_throttled"))
        self._throttled = throttled[0] if throttled else None
        self._vcgencmd = shutil.which("vcgencmd")
        self._cpuinfo = os.path.join(root, "proc/cpuinfo")

    def observe(self, thorough: bool = False) -> Dict[str, Any]:
        """The state now; what the board does not tell is ``None``.

        Args:
            thorough: Also ask what needs a program (``vcgencmd``) or a long read; not between two inferences.
        """
        return {
            "time_s": round(time.time(), 3),
            "temperature_c": _thousandth(self._temperature),
            "requested_hz": _kilohertz(self._requested),
            "clock_hz": _kilohertz(self._real) or (self._measured_clock() if thorough else None),
            "throttled": self._throttle(thorough),
            "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "memory_available_bytes": _memory("MemAvailable"),
            "governor": governor() if thorough else None,
        }

    def _throttle(self, thorough: bool) -> Optional[Dict[str, List[str]]]:
        text = _text(self._throttled).strip() if self._throttled else ""
        if not text and thorough and self._vcgencmd:
            text = _command([self._vcgencmd, "get_throttled"]).partition("=")[2].strip()
        try:
            return throttle_bits(int(text, 16)) if text else None
        except ValueError:
            return None

    def _measured_clock(self) -> Optional[float]:
        if self._vcgencmd:
            answer = _command([self._vcgencmd, "measure_clock", "arm"]).partition("=")[2].strip()
            if answer.isdigit():
                return float(answer)
        clocks = re.findall(r"^cpu MHz\s*: ([0-9.]+)", _text(self._cpuinfo), re.MULTILINE)
        return max(float(c) for c in clocks) * 1e6 if clocks else None


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


def _container() -> Optional[str]:
    if os.path.exists("/.dockerenv"):
        return "docker"
    if os.path.exists("/run/.containerenv"):
        return "podman"
    match = re.search(r"(docker|kubepods|lxc|containerd)", _text("/proc/1/cgroup"))
    return match.group(1) if match else None


def _thermal_zone(root: str) -> Optional[str]:
    zones = sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*")))
    zones.sort(key=lambda z: not re.search("cpu|soc|x86_pkg", _text(os.path.join(z, "type"))))
    readable = [p for p in (os.path.join(z, "temp") for z in zones) if _text(p).strip()]
    return readable[0] if readable else None


def _memory(key: str) -> Optional[int]:
    match = re.search(rf"^{key}:\s*(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _kilohertz(paths: List[str]) -> Optional[float]:
    values = [int(t) for t in (_text(p).strip() for p in paths) if t.isdigit()]
    return max(values) * 1000.0 if values else None


def _thousandth(path: Optional[str]) -> Optional[float]:
    text = _text(path).strip() if path else ""
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def _command(words: List[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
