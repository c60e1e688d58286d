"""Ctrl-C while a device is being reached, set up or waited for, before its measurement has begun."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgexfer.results import Device, FleetRun, Outcome, read_result, remote
from edgexfer.results import fleet as fleet_module
from edgexfer.results.visit import Visit
from tests.results import sshd
from tests.results.fleet_kit import QUICK, RETRIES_S, Fleet, begun_command, made_bundle, needs_sshd

LONG = ("--threads", "1", "--min-seconds", "8", "--rounds", "1")


def visit_of(
    fleet: Fleet, device: Device, options: Sequence[str] = QUICK, retries_s: Sequence[float] = RETRIES_S
) -> Visit:
    run = FleetRun(fleet.bundle, fleet.out, tuple(options), config=fleet.config)
    archive, digest = fleet_module._packed(fleet.bundle, fleet.home)
    return Visit(run, device, "job-x", archive, digest, fleet.tell, retries_s)


@needs_sshd
def test_ctrl_c_while_setting_up_begins_nothing(server: sshd.Server, tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "made", setup="sleep 2; touch ready")
    fleet = Fleet(tmp_path, bundle, {"good": server})
    device = fleet.device("good", f'echo x >> {tmp_path}/begun; exec {{python}} "$@"')
    with begun_command(fleet, device, options=("--setup", *LONG)) as child:
        assert child.stderr is not None
        next(line for line in child.stderr if "setting up" in line)
        os.kill(child.pid, signal.SIGINT)
        talk = child.stderr.read()
    assert child.returncode == 1, talk
    assert "good: stopping: it has not begun yet" in talk
    assert "good (interrupted): stopped before the measurement on good began; run the same command again" in talk
    assert (tmp_path / "good/edgexfer-bench/ready").exists(), "what had begun has ended"
    assert not (tmp_path / "begun").exists() and not list((tmp_path / "good/edgexfer-bench").glob("job-*"))


def test_ctrl_c_that_another_thread_takes_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may hand a signal to any thread, and the one that waits must not go on waiting for its futures."""
    waiting, stopped = threading.Event(), threading.Event()
    wait = concurrent.futures.wait

    def entered(*futures: Any) -> Any:
        waiting.set()
        return wait(*futures)

    class Asked:
        def stop(self) -> None:
            stopped.set()

    def measuring() -> bool:
        waiting.wait()
        time.sleep(0.2)  # until it waits indeed: before, the signal would be heard anyway
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return stopped.wait(10)

    monkeypatch.setattr(concurrent.futures, "wait", entered)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(measuring)
        fleet_module._wait([future], [Asked()])  # type: ignore[list-item]
    assert future.result()


@needs_sshd
def test_ctrl_c_while_it_starts_reaches_it(
    server: sshd.Server, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, bundle, {"good": server})
    visit = visit_of(fleet, fleet.device("good"), LONG)
    call = remote.Remote.call

    def calling(self: remote.Remote, script: str, *words: str, **how: Any) -> bytes:
        if script == remote.START:
            visit.stop()  # after the last look, and before it has begun
        return call(self, script, *words, **how)

    monkeypatch.setattr(remote.Remote, "call", calling)
    found = visit.outcome()
    assert found.status == "interrupted", found
    if found.result is None:
        assert "stopped before anything was measured on good; run the same command again" in str(found.error)
    else:
        assert read_result(found.result).configs[0].status == "interrupted"
    assert not list((tmp_path / "good/edgexfer-bench").glob("job-*"))


def begun(visit: Visit) -> tuple[threading.Thread, list[Outcome]]:
    """The visit in a thread of its own, and where its outcome will be."""
    found: list[Outcome] = []
    going = threading.Thread(target=lambda: found.append(visit.outcome()))
    going.start()
    return going, found


@needs_sshd
def test_giving_up_ends_the_waiting_for_a_connection(bundle: Path, tmp_path: Path) -> None:
    with sshd.running(tmp_path / "own") as own:
        fleet = Fleet(tmp_path, bundle, {"attic": own})
        visit = visit_of(fleet, fleet.device("attic", 'echo hello >&2; sleep 3; exec {python} "$@"'), QUICK, (2.0, 2.0))
        going, found = begun(visit)
        assert fleet.event("attic", "measuring").wait(20)
        own.break_connections()
        assert fleet.event("attic", "waiting").wait(20)
        visit.give_up()
        going.join()
    assert found[0].status == "lost" and "was given up on while it was measuring" in str(found[0].error)


@needs_sshd
def test_ctrl_c_while_the_connection_is_broken_reaches_it_once_it_is_back(bundle: Path, tmp_path: Path) -> None:
    with sshd.running(tmp_path / "own") as own:
        fleet = Fleet(tmp_path, bundle, {"attic": own})
        visit = visit_of(fleet, fleet.device("attic"), LONG, (2.0, 2.0, 2.0))
        going, found = begun(visit)
        assert fleet.event("attic", "measuring").wait(20)
        own.stop()
        assert fleet.event("attic", "waiting").wait(20)
        visit.stop()
        own.start()
        going.join()
    assert found[0].status == "interrupted", found[0]
    assert not list((tmp_path / "attic/edgexfer-bench").glob("job-*"))
