"""Artifacts measured now: all of them turn by turn in fresh processes, here or on a device through ssh."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgexfer.errors import DeviceError
from edgexfer.export.beside import of_another
from edgexfer.export.bundle import BUNDLE_FILE
from edgexfer.export.metadata import read_info
from edgexfer.files import sha256_file, write_bytes
from edgexfer.report.records import Found, FoundArtifact
from edgexfer.results import FleetRun, named_devices, run_bench, run_fleet
from edgexfer.results.archive import unpack
from edgexfer.results.visit import Tell
from edgexfer.training import Listener
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.data import DataChoice


@dataclass(frozen=True)
class Measuring:
    """Where and how artifacts are measured.

    Attributes:
        host: The device, as ssh takes it; ``None`` for this machine.
        out: The folder that the results go to.
        threads: Thread counts, such as ``"1,4"``.
        min_seconds: Least time a configuration is measured, all its rounds together.
        min_runs: Least inferences of one.
        rounds: Turns of each configuration, each in a fresh process.
        setup: Whether ``setup.sh`` is run on the device before.
        ssh_config: A configuration file for ssh, or ``None``.
        data: Pictures for the bundles that a device needs, where there are bare artifacts.
    """

    host: str | None = None
    out: Path = Path()
    threads: str = "1"
    min_seconds: float = 5.0
    min_runs: int = 100
    rounds: int = 3
    setup: bool = False
    ssh_config: Path | None = None
    data: DataChoice | None = None


def measure(artifacts: Sequence[Path], how: Measuring, listener: Listener) -> list[Path]:
    """Measures artifacts.

    Args:
        artifacts: ONNX files of ours.
        how: Where and how.
        listener: Hears how it goes.

    Returns:
        The result files.

    Raises:
        DeviceError: There is nothing to measure, or the device gave no whole result.
    """
    if not artifacts:
        raise DeviceError("there is no artifact to measure; name .onnx files or bundles")
    if how.host is None:
        listener.say(f"measuring {len(artifacts)} files here, turn by turn")
        return [_here(artifacts, how, listener)]
    return _there(artifacts, how, listener)


def paths_of(found: Found, place: Path) -> list[Path]:
    """Every artifact of ours that was found, as a file; bundles that are archives are unpacked into ``place``."""
    return [_as_file(artifact, place) for artifact in found.artifacts if artifact.info is not None]


def _as_file(artifact: FoundArtifact, place: Path) -> Path:
    if artifact.path.suffix.lower() == ".onnx":
        return artifact.path
    return _member(artifact.path, artifact.sha256, place)


def taken_out(archive: Path, sha256: str, out: Path) -> Path:
    """An artifact of a bundle's archive as a file of its own in ``out``, in the place of one of that name.

    Raises:
        DeviceError: The archive holds it no more.
    """
    with tempfile.TemporaryDirectory(prefix="edgexfer-choose-") as place:
        found = _member(archive, sha256, Path(place))
        target = out / found.name
        write_bytes(target, found.read_bytes())
    stem = target.name.removesuffix(".onnx").removesuffix(".int8")
    target.with_name(f"{stem}.proof.json").unlink(missing_ok=True)  # of the file that was there
    return target


def _member(archive: Path, sha256: str, place: Path) -> Path:
    folder = place / hashlib.sha256(str(archive).encode()).hexdigest()[:12]
    if not folder.is_dir():
        unpack(archive, folder)
    for path in sorted(folder.rglob("*.onnx")):
        if sha256_file(path) == sha256:
            return path
    raise DeviceError(f"{str(archive)!r} changed while it was read; run the same command again")


def _here(artifacts: Sequence[Path], how: Measuring, listener: Listener) -> Path:
    """One call for all of them, so that they take turns; bare ones in a folder of their own, since names may be equal.

    Of what lies in a bundle, its labelled samples are scored too.
    """
    homes = _homes(artifacts)
    bare = [path for path in artifacts if path not in homes]
    with tempfile.TemporaryDirectory(prefix="edgexfer-choose-") as place:
        for number, artifact in enumerate(bare):
            shutil.copyfile(artifact, Path(place) / f"{number:03d}-{artifact.name}")
        targets = [*dict.fromkeys(homes.values()), *([Path(place)] if bare else [])]
        how.out.mkdir(parents=True, exist_ok=True)
        out = _fresh(how.out / "bench-here.json")
        try:
            return run_bench(
                targets[0],
                more=targets[1:],
                out=out,
                min_seconds=how.min_seconds,
                min_runs=how.min_runs,
                threads=how.threads,
                verify_only=False,
                force=False,
                options=("--rounds", str(how.rounds)),
            )
        except DeviceError as error:
            if not out.is_file():
                raise
            listener.warn(str(error))  # one model that answers wrongly spoils no other's times
            return out


def _homes(artifacts: Sequence[Path]) -> dict[Path, Path]:
    """The bundle of each artifact that lies in one."""
    return {path: path.parent.parent for path in artifacts if (path.parent.parent / BUNDLE_FILE).is_file()}


def _there(artifacts: Sequence[Path], how: Measuring, listener: Listener) -> list[Path]:
    """A bundle for those that take the same pictures and answer alike; where they were found in one, that bundle."""
    (device,) = named_devices([how.host or ""])
    words = ["--threads", how.threads, "--min-seconds", str(how.min_seconds)]
    words += ["--min-runs", str(how.min_runs), "--rounds", str(how.rounds)]
    results = []
    with tempfile.TemporaryDirectory(prefix="edgexfer-choose-") as place:
        for bundle in _bundles(artifacts, how, Path(place), listener):
            listener.say(f"measuring {bundle.name} on {device.host}")
            out = _fresh(how.out / f"bench-{device.name}")
            run = FleetRun(bundle, out, tuple(words), setup=how.setup, config=how.ssh_config)
            (outcome,) = run_fleet(run, [device], _teller(listener))
            if outcome.result is None or not (outcome.good or outcome.status == "failed"):
                raise DeviceError(f"{device.host} gave no whole result ({outcome.status}): {outcome.error}")
            if outcome.error is not None:  # as here: one model that answers wrongly spoils no other's times
                listener.warn(f"{device.host}: {outcome.error}")
            results.append(outcome.result)
    return results


def _teller(listener: Listener) -> Tell:
    states: list[str] = []

    def tell(name: str, state: str, what: str) -> None:
        if not states or states[-1] != state:
            states.append(state)
            listener.say(f"{name}: {state}: {what}")

    return tell


def _bundles(artifacts: Sequence[Path], how: Measuring, place: Path, listener: Listener) -> list[Path]:
    """The bundles that hold the artifacts; bare ones are bundled here.

    Raises:
        DeviceError: There are bare ones, and no pictures to bundle them with.
    """
    homes = _homes(artifacts)
    bare = [path for path in artifacts if path not in homes]
    if bare and how.data is None:
        raise DeviceError(
            f"{', '.join(str(path) for path in bare[:3])}: a device takes bundles, and these lie in none; pass --data"
            " DATA to bundle them with its pictures, or make bundles with edgexfer bundle"
        )
    groups: list[tuple[object, list[Path]]] = []
    for path in bare:
        info = read_info(path)
        rule = info.preprocessing
        key = (info.classes, rule.input_size, rule.resize, rule.crop, rule.interpolation)
        fitting = [group for kind, group in groups if kind == key and _may_join(path, group)]
        if fitting:
            fitting[0].append(path)
        else:
            groups.append((key, [path]))
    made = list(dict.fromkeys(homes.values()))
    for number, (_, group) in enumerate(groups):
        if how.data is not None:
            made.append(make_bundle(group, how.data, place / f"bundle-{number}", listener))
    return made


def _may_join(path: Path, group: Sequence[Path]) -> bool:
    """Whether one bundle may hold ``path`` too: no other file has its name, and no int8 one is taken for another's."""
    together = [*group, path]
    return path.name not in {one.name for one in group} and not of_another(together, [*map(read_info, together)])


def _fresh(path: Path) -> Path:
    """``path``, or with a number where there is something already."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
