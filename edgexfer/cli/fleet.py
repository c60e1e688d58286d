"""``edgexfer bench --on``: many devices side by side, with a live table."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgexfer.cli.common import emit
from edgexfer.cli.tables import show_table
from edgexfer.cli.talk import Talk
from edgexfer.errors import DeviceError

if TYPE_CHECKING:
    from edgexfer.results import Outcome

QUIET_S = 10.0  # in a pipe, how often a device tells of its progress


def bench_fleet(
    target: Path, hosts: Sequence[str], fleet: Path | None, *, out: Path | None, as_json: bool, **how: Any
) -> None:
    """Measures ``target`` on every device and prints what came home.

    Raises:
        DeviceError: Some device gave no result; all others did, and theirs are told first.
    """
    from edgexfer.results import FleetRun, named_devices, read_devices, run_fleet

    devices = (*named_devices(hosts), *(read_devices(fleet) if fleet is not None else ()))
    stem = target.name.removesuffix(".gz").removesuffix(".tar")
    run = FleetRun(target, out or Path(f"bench-{stem}"), **how)
    talk = Talk()
    with Watch(talk, [device.name for device in devices]) as watch:
        outcomes = run_fleet(run, devices, watch)
    _show(talk, outcomes)
    found = {outcome.name: outcome.to_dict() for outcome in outcomes}
    paths = "\n".join(str(outcome.result) for outcome in outcomes if outcome.result is not None)
    if as_json or paths:
        emit({"out": str(run.out), "devices": found}, as_json, paths)
    missing = [outcome for outcome in outcomes if not outcome.good]
    if missing:
        told = "; ".join(f"{o.name} ({o.status}): {o.error}" for o in missing)
        raise DeviceError(f"{len(missing)} of {len(outcomes)} devices gave no whole result: {told}")


class Watch:
    """What each device does, told from its own thread: a live table on a terminal, lines in a pipe."""

    def __init__(self, talk: Talk, names: Sequence[str]) -> None:
        self._talk = talk
        self._lock = threading.Lock()
        self._rows = dict.fromkeys(names, ("waiting", ""))
        self._told: dict[str, tuple[str, float]] = {}
        terminal = talk.console.is_terminal
        self._live = Live(console=talk.console, refresh_per_second=4, transient=True) if terminal else None

    def __enter__(self) -> Watch:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, name: str, state: str, what: str) -> None:
        """Takes note of what a device does."""
        with self._lock:
            self._rows[name] = (state, what)
            if self._live is not None:
                self._live.update(self._table())
                return
            before, when = self._told.get(name, ("", 0.0))
            if state != before or time.monotonic() - when >= QUIET_S:
                self._told[name] = (state, time.monotonic())
                self._talk.say(f"{name}: {state}: {what}")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, (state, what) in self._rows.items():
            table.add_row(Text(name, style="bold"), Text(state), Text(what, no_wrap=True, overflow="ellipsis"))
        return table


def _show(talk: Talk, outcomes: Sequence[Outcome]) -> None:
    """The figures that came home, a row each."""
    from edgexfer.results import read_result, summary

    rows = []
    for outcome in outcomes:
        for config in read_result(outcome.result).configs if outcome.result is not None else ():
            times = summary(config.latency_s)
            shown = ["-" if (value := times[key]) is None else f"{value * 1000:.3g} ms" for key in ("p50_s", "p90_s")]
            rows.append((outcome.name, config.model, str(config.threads), config.status, *shown))
    if rows:
        show_table(talk, "Devices", ("device", "model", "threads", "status", "p50", "p90"), rows)


def check(hosts: Sequence[str], fleet: Path | None, setup: bool, ssh_config: Path | None) -> bool:
    """Whether a fleet is asked for.

    Raises:
        click.UsageError: Options of a fleet without one.
    """
    if hosts or fleet is not None:
        return True
    if setup or ssh_config is not None:
        raise click.UsageError("--setup and --ssh-config go with --on or --fleet")
    return False
