"""Which devices to measure on: named on the command line, or listed in a TOML file.

    [defaults]
    dir = "edgexfer-bench"

    [[device]]
    name = "kitchen"
    host = "pi@kitchen.local"
    python = "python3.11"
    options = ["--threads", "1,4"]

``host`` is what OpenSSH takes: keys, ports, jump hosts and known hosts are those of the user's own ssh configuration.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import DeviceError

FLEET_FILE = "fleet.json"
"""What became of each device, beside the devices' own results."""
FOLDER = "edgexfer-bench"
PYTHON = "python3"
_KEYS = ("name", "host", "dir", "python", "options")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Device:
    """A device to measure on.

    Attributes:
        name: What its result is called.
        host: As ``ssh`` takes it.
        folder: Where the bundle goes there, relative to the home folder.
        python: The Python to run ``bench.py`` with; the bundle's own environment is found from there.
        options: Further words for its ``bench.py``.
    """

    name: str
    host: str
    folder: str = FOLDER
    python: str = PYTHON
    options: tuple[str, ...] = ()


def named_devices(hosts: Sequence[str]) -> tuple[Device, ...]:
    """Devices by host alone; a name is the host without the user.

    Raises:
        DeviceError: A host is named twice, or like an option.
    """
    return _checked([Device(_plain(host.rpartition("@")[2]), host) for host in hosts], "--on")


def read_devices(path: Path) -> tuple[Device, ...]:
    """Devices of a TOML file.

    Raises:
        DeviceError: It cannot be read; every mistake in it is told.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeviceError(f"cannot read the fleet {str(path)!r}: {error}") from error
    defaults, listed = table.get("defaults", {}), table.get("device", [])
    mistakes = [f"{key!r} is not a table of a fleet (allowed: defaults, device)" for key in table.keys() - _TABLES]
    if not isinstance(defaults, dict) or not isinstance(listed, list) or not listed:
        mistakes.append("it lists no [[device]] with a host")
        listed = []
    devices = []
    for number, entry in enumerate(listed, 1):
        found = {**defaults, **entry} if isinstance(entry, dict) and isinstance(defaults, dict) else {}
        wrong = _mistakes(found)
        mistakes += [f"device {number}: {mistake}" for mistake in wrong]
        if not wrong:
            devices.append(_device(found))
    if mistakes:
        raise DeviceError(f"the fleet {str(path)!r} has mistakes: {'; '.join(mistakes)}")
    return _checked(devices, str(path))


_TABLES = {"defaults", "device"}


def _mistakes(entry: Mapping[str, Any]) -> list[str]:
    found = [f"{key!r} is not known (allowed: {', '.join(_KEYS)})" for key in entry if key not in _KEYS]
    found += [f"{key} is {entry[key]!r}; expected a text" for key in _KEYS[:4] if not _is_text(entry.get(key, "x"))]
    options = entry.get("options", [])
    if not isinstance(options, list) or not all(isinstance(word, str) for word in options):
        found.append(f"options is {options!r}; expected a list of texts")
    if "host" not in entry:
        found.append("it has no host")
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _device(entry: Mapping[str, Any]) -> Device:
    host = entry["host"]
    name = entry.get("name", _plain(host.rpartition("@")[2]))
    folder, python = entry.get("dir", FOLDER), entry.get("python", PYTHON)
    return Device(name, host, folder, python, tuple(entry.get("options", ())))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def _checked(devices: Sequence[Device], where: str) -> tuple[Device, ...]:
    for device in devices:
        if device.host.startswith("-"):
            raise DeviceError(f"{device.host!r} in {where} is no host; expected such as pi@kitchen")
        if not _NAME.fullmatch(device.name):
            raise DeviceError(f"{device.name!r} in {where} is no name; use letters, digits, dots, - and _")
        if f"{device.name}.json".casefold() == FLEET_FILE:
            raise DeviceError(f"{device.name!r} in {where} is the name of {FLEET_FILE}, of all devices; choose another")
    names = [device.name.casefold() for device in devices]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeviceError(f"named twice in {where}: {', '.join(twice)}; give each device a name of its own")
    return tuple(devices)
