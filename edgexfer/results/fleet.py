"""Measures on many devices side by side: one thread each, so that the failure of one disturbs none of the others.

``<out>/<device>.json`` is a device's result, ``<out>/fleet.json`` what became of each, written as each comes home.
Running the same command again, even after a kill, keeps the results that are there and goes on with the rest: a
measurement that outlived its connection is found again, one that is done only comes home.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import tarfile
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgexfer.errors import DeviceError
from edgexfer.files import read_json, sha256_file, write_json
from edgexfer.results.archive import BUNDLE_FILE, bundle_folder
from edgexfer.results.devices import FLEET_FILE, Device
from edgexfer.results.visit import RETRIES_S, FleetRun, Outcome, Tell, Visit

LOOK_S = 0.5
"""How often one who waits looks whether somebody pressed Ctrl-C."""
BEGUN = "begun"
"""Status of a device in ``fleet.json`` as long as nothing came home of it."""


def run_fleet(
    run: FleetRun, devices: Sequence[Device], tell: Tell, retries_s: Sequence[float] = RETRIES_S
) -> list[Outcome]:
    """Measures on all devices.

    Ctrl-C stops the measurements there and brings home what they have.

    Args:
        run: What to do.
        devices: Where.
        tell: Told what each device does.
        retries_s: Seconds to wait before each new try of a lost connection.

    Returns:
        An outcome a device, in the same order.

    Raises:
        DeviceError: The bundle cannot be used, two devices are one, or ``out`` holds results of another measurement.
    """
    _refuse_twins(devices)
    with tempfile.TemporaryDirectory(prefix="edgexfer-fleet-") as place:
        archive, digest = _packed(run.bundle, Path(place))
        jobs = {device.name: _job(digest, run, device) for device in devices}
        found = _kept(run, devices, jobs)
        visits = [
            Visit(run, device, jobs[device.name], archive, digest, tell, retries_s)
            for device in devices
            if device.name not in found
        ]
        record = _Record(run.out, jobs)
        record.keep([found.get(device.name) or Outcome(device.name, device.host, BEGUN) for device in devices])
        with concurrent.futures.ThreadPoolExecutor(max(1, len(visits))) as pool:
            futures = [pool.submit(_visited, visit, record) for visit in visits]
            _wait(futures, visits)
        found |= {outcome.name: outcome for outcome in (future.result() for future in futures)}
    return [found[device.name] for device in devices]


def _refuse_twins(devices: Sequence[Device]) -> None:
    """Refuses devices that would get in each other's way.

    Raises:
        DeviceError: Two have one name, or one folder on one host.
    """
    names: dict[str, Device] = {}
    places: dict[tuple[str, str], Device] = {}
    for device in devices:
        twin = names.setdefault(device.name.casefold(), device)
        if twin is not device:
            raise DeviceError(f"two devices are called {device.name!r}; leave one out, or give each a name of its own")
        twin = places.setdefault((device.host, device.folder), device)
        if twin is not device:
            raise DeviceError(
                f"{twin.name!r} and {device.name!r} are the folder {device.folder!r} of {device.host!r} both; leave one"
                " out, or give each a dir of its own"
            )


def _visited(visit: Visit, record: _Record) -> Outcome:
    outcome = visit.outcome()
    record.keep([outcome])
    return outcome


def _wait(futures: Sequence[concurrent.futures.Future[Outcome]], visits: Sequence[Visit]) -> None:
    """Waits for all; a first Ctrl-C asks the devices to stop, a second one gives up on them."""
    asked = False
    while True:
        try:
            while concurrent.futures.wait(futures, LOOK_S).not_done:
                pass  # a signal that another thread took does not wake this one
            return
        except KeyboardInterrupt:
            for visit in visits:
                threading.Thread(target=visit.give_up if asked else visit.stop, daemon=True).start()
            asked = True


def _packed(bundle: Path, place: Path) -> tuple[Path, str]:
    """The bundle as an archive of what lies in its folder, and the SHA-256 of its ``bundle.json``.

    Raises:
        DeviceError: It is no bundle.
    """
    folder = bundle_folder(bundle, place / "unpacked")
    if not (folder / BUNDLE_FILE).is_file():
        raise DeviceError(f"{str(bundle)!r} is no bundle; make one with edgexfer bundle")
    names = [BUNDLE_FILE, *read_json(folder / BUNDLE_FILE, "bundle").get("files", {})]
    archive = place / "bundle.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=6) as packed:
        for name in dict.fromkeys(names):
            if not (folder / name).is_file():
                raise DeviceError(f"the bundle {str(bundle)!r} is incomplete, {name} missing; make it again")
            packed.add(folder / name, name, recursive=False)
    return archive, sha256_file(folder / BUNDLE_FILE)


def _job(digest: str, run: FleetRun, device: Device) -> str:
    """The name of the measurement: the same bundle measured in the same way is the same job."""
    text = json.dumps([digest, run.options, device.options, device.python])
    return f"job-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _kept(run: FleetRun, devices: Sequence[Device], jobs: Mapping[str, str]) -> dict[str, Outcome]:
    """What an earlier call brought home.

    Raises:
        DeviceError: ``out`` holds results of another measurement and ``force`` is off.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    before = {} if run.force else _recorded(run.out)
    found: dict[str, Outcome] = {}
    for device in devices:
        result, known = run.out / f"{device.name}.json", before.get(device.name, {})
        if run.force or not result.is_file():
            continue
        if known.get("job") != jobs[device.name]:
            raise DeviceError(
                f"{str(result)!r} is of another measurement; choose another --out, or pass --force to replace it"
            )
        if known.get("status") in ("ok", "kept"):
            found[device.name] = Outcome(device.name, device.host, "kept", result)
    return found


def _recorded(out: Path) -> dict[str, Any]:
    path = out / FLEET_FILE
    found = read_json(path, "fleet record").get("devices") if path.is_file() else None
    return found if isinstance(found, dict) else {}


class _Record:
    """``fleet.json``: each outcome as it comes, so that a kill costs only what has not come home."""

    def __init__(self, out: Path, jobs: Mapping[str, str]) -> None:
        self._out, self._jobs = out, jobs
        self._lock = threading.Lock()

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Puts outcomes in the place of what was known of their devices."""
        now = {outcome.name: {**outcome.to_dict(), "job": self._jobs[outcome.name]} for outcome in outcomes}
        with self._lock:
            write_json(self._out / FLEET_FILE, {"format": 1, "devices": {**_recorded(self._out), **now}})
