"""A visit to one device of a fleet: from the copying of the bundle to the result that comes home."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import DeviceError, FormatError
from edgexfer.files import whole_file
from edgexfer.results import remote
from edgexfer.results.devices import Device
from edgexfer.results.remote import Remote, UnreachableError
from edgexfer.results.result import read_result
from edgexfer.words import people_size

RETRIES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # waits before a lost connection is tried again

Tell = Callable[[str, str, str], None]
"""Called with a device's name, its state in a word, and what it does."""


@dataclass(frozen=True)
class Outcome:
    """What became of a device.

    Attributes:
        name: The device.
        host: Its host.
        status: ``"ok"``, ``"kept"`` (from an earlier call), ``"failed"`` (see the error; a result may have come home),
            ``"unreachable"``, ``"lost"`` (disappeared meanwhile) or ``"interrupted"``.
        result: Its result file, ``None`` where it is missing.
        error: What went wrong.
    """

    name: str
    host: str
    status: str
    result: Path | None = None
    error: str | None = None

    @property
    def good(self) -> bool:
        """Whether its result is there and whole."""
        return self.status in ("ok", "kept")

    def to_dict(self) -> dict[str, Any]:
        """The outcome as ``fleet.json`` holds it."""
        result = self.result.name if self.result is not None else None
        return {"host": self.host, "status": self.status, "result": result, "error": self.error}


@dataclass(frozen=True)
class FleetRun:
    """What to do on every device.

    Attributes:
        bundle: The bundle's folder, or its archive.
        out: The folder for the results.
        options: Words for ``bench.py``.
        setup: Whether to run ``setup.sh`` before.
        force: Measure again what is there already, and end what still goes on there.
        config: A configuration file for ssh, or ``None``.
    """

    bundle: Path
    out: Path
    options: tuple[str, ...] = ()
    setup: bool = False
    force: bool = False
    config: Path | None = None


class _Stopped(Exception):
    """Ctrl-C came before there was anything to bring home."""


class Visit:
    """One device from the copying to its result."""

    def __init__(
        self,
        run: FleetRun,
        device: Device,
        job: str,
        archive: Path,
        digest: str,
        tell: Tell,
        retries_s: Sequence[float],
    ) -> None:
        self._run, self._device, self._job = run, device, job
        self._archive, self._digest = archive, digest
        self._tell, self._retries_s = tell, retries_s
        self._remote = Remote(device, run.config)
        self._lock = threading.Lock()
        self._begun = self._stopped = False
        self._given_up = threading.Event()

    def outcome(self) -> Outcome:
        """Measures there; whatever goes wrong is this device's alone."""
        try:
            self._arrive()
            self._follow()
            found = self._come_home()
        except _Stopped as stopped:
            found = self._said("interrupted", str(stopped))
        except UnreachableError as error:
            found = self._said("lost" if self._begun else "unreachable", str(error))
        except (DeviceError, FormatError, OSError) as error:
            found = self._said("failed", str(error))
        except Exception as error:  # a bug must not cost the other devices their results
            found = self._said("failed", f"something unforeseen went wrong: {error!r}")
        self._tell(self._device.name, found.status, found.error or str(found.result))
        return found

    def stop(self) -> None:
        """Asks the measurement there to end and to leave what it has; one that has not begun is not begun any more."""
        with self._lock:
            self._stopped, begun = True, self._begun
        self._tell(self._device.name, "stopping", "bringing home what it has" if begun else "it has not begun yet")
        if begun:
            self._end()

    def give_up(self) -> None:
        """Waits for it no longer; its measurement goes on there."""
        self._given_up.set()
        self._remote.give_up()

    def _end(self) -> None:
        try:
            self._remote.call(remote.STOP, self._job, what="stopping bench.py")
        except DeviceError:
            return  # following it meets the same trouble, says so, and asks again once the connection is back

    def _said(self, status: str, error: str) -> Outcome:
        again = (
            "; run the same command again once it is back: the measurement goes on there" if status == "lost" else ""
        )
        return Outcome(self._device.name, self._device.host, status, None, error + again)

    def _arrive(self) -> None:
        self._step("connecting", self._device.host)
        force = "force" if self._run.force else ""
        there = self._remote.call(remote.LOOK, self._job, force, what="looking for the bundle").decode().strip()
        if there != self._digest:
            self._step("copying", people_size(self._archive.stat().st_size))
            self._remote.call(remote.UNPACK, self._digest, given=self._archive, what="copying the bundle")
        if self._run.setup:
            self._step("setting up", "./setup.sh")
            self._remote.call(remote.SETUP, what="./setup.sh")
        self._begin()

    def _step(self, state: str = "", what: str = "") -> None:
        """Tells what comes next.

        Raises:
            _Stopped: Somebody does not want it any more.
        """
        if self._stopped or self._given_up.is_set():
            raise _Stopped(f"stopped before the measurement on {self._device.host} began; run the same command again")
        if state:
            self._tell(self._device.name, state, what)

    def _begin(self) -> None:
        self._step()
        words = [self._device.python, "bench.py", *self._run.options, *self._device.options]
        self._remote.call(remote.START, self._job, *words, what="starting bench.py")
        with self._lock:
            self._begun, stopped = True, self._stopped
        if stopped:  # while it was starting; else whoever asks for it finds it begun
            self._end()

    def _follow(self) -> None:
        """Follows the log to its end through connections that break."""
        seen, tries = 0, 0
        while True:
            before = seen
            if self._given_up.is_set():
                raise UnreachableError(f"{self._device.host} was given up on while it was measuring")
            if tries and self._stopped:
                self._end()
            answer, seen = self._remote.follow(self._job, seen, self._heard)
            if answer.code == 0:
                return
            if answer.code == 3:
                self._remote.call(remote.FORGET, self._job, what="removing what died")
                raise DeviceError(
                    f"bench.py on {self._device.host} vanished without a word, as after a reboot or a power cut; run"
                    " the same command again to begin it anew"
                )
            error = self._remote.error(answer, "following bench.py")
            tries = 0 if seen > before else tries
            if self._given_up.is_set():
                continue
            if not isinstance(error, UnreachableError) or tries >= len(self._retries_s):
                raise error
            self._tell(self._device.name, "waiting", f"the connection broke ({answer.talk}); trying again")
            self._given_up.wait(self._retries_s[tries])
            tries += 1

    def _heard(self, line: str) -> None:
        if line.strip():
            self._tell(self._device.name, "measuring", line.strip())

    def _come_home(self) -> Outcome:
        """Fetches the result, whole."""
        code, _, rest = self._remote.call(remote.FETCH, self._job, what="fetching the result").partition(b"\n")
        size, _, rest = rest.partition(b"\n")
        talk = _last_words(rest[: int(size)].decode(errors="replace"))
        digest, _, content = rest[int(size) :].partition(b"\n")
        if not content:
            self._remote.call(remote.FORGET, self._job, what="tidying up")
            if self._stopped:
                host = self._device.host
                raise _Stopped(f"stopped before anything was measured on {host}; run the same command again")
            raise DeviceError(f"bench.py left no result on {self._device.host}: {talk}{_setup_hint(talk)}")
        if hashlib.sha256(content).hexdigest() != digest.decode():
            raise DeviceError(f"the result of {self._device.host} arrived damaged; run the same command again")
        target = self._run.out / f"{self._device.name}.json"
        with whole_file(target) as part:
            part.write_bytes(content)
            read_result(part)
        self._remote.call(remote.FORGET, self._job, what="tidying up")
        status = {b"0": "ok", b"130": "interrupted"}.get(code.strip(), "failed")
        error = None if status == "ok" else talk or f"bench.py ended with {code.decode()}"
        return Outcome(self._device.name, self._device.host, status, target, error)


def _last_words(log: str) -> str:
    """What the end of a log says of what went wrong."""
    lines = [line for line in log.splitlines() if line.startswith(("error: ", "bench.py: "))]
    lines = lines or [line for line in log.splitlines() if line.strip() and not line.endswith(".json")]
    return lines[-1].removeprefix("bench.py: ").removeprefix("error: ") if lines else ""


def _setup_hint(talk: str) -> str:
    return " (or pass --setup)" if "setup.sh" in talk else ""
