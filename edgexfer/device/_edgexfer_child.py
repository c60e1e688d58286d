"""A measurement in a process of its own, and what is said of one that died. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional

import _edgexfer_config as config
from _edgexfer_board import oom_kills
from _edgexfer_environment import HERE

if TYPE_CHECKING:
    import _edgexfer_measure  # noqa: F401  # runs in a process of its own; the type checker finds it here


@dataclass
class Interruption:
    """Ctrl-C, handed on to the process that is measuring; a second one ends it at once."""

    child: Optional["subprocess.Popen[str]"] = None
    count: int = 0
    previous: Dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> "Interruption":
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as nohup has it: it goes on without its terminal
            numbers.remove(signal.SIGHUP)
        for number in numbers:
            self.previous[number] = signal.signal(number, self._hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _hand_on(self, number: int, frame: object) -> None:
        self.count += 1
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGINT if self.count == 1 else signal.SIGKILL)


def measure(job: Mapping[str, Any], interruption: Interruption) -> Dict[str, Any]:
    """Measures a job in a fresh process; the configuration that it found, or what is known of its death."""
    killed_before = oom_kills()
    child = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "_edgexfer_measure.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches it once, through us
    )
    interruption.child = child
    try:
        answer, talk = child.communicate(json.dumps(job))
    finally:
        interruption.child = None
    try:
        found: Dict[str, Any] = json.loads(answer)
    except ValueError:
        found = _lost(job, child.returncode, talk, interruption.count, killed_before)
    return found


def _lost(
    job: Mapping[str, Any], code: int, talk: str, interruptions: int, killed_before: Optional[int]
) -> Dict[str, Any]:
    """What is known of a process that ended without an answer."""
    name = os.path.basename(job["model"])
    status = "failed"
    if interruptions:
        status, error = "interrupted", "interrupted"
    elif code == -signal.SIGKILL:
        status = "killed"
        now = oom_kills()
        sure = killed_before is not None and now is not None and now > killed_before
        cause = "by the kernel, which had no memory left" if sure else "most likely for lack of memory"
        error = (
            f"the process measuring {name!r} was killed, {cause}; free some, add swap, or use fewer pictures a query"
        )
    elif code < 0:
        death = signal.Signals(-code).name
        error = f"the process measuring {name!r} died of {death}; this {job['runtime']} may not suit the processor"
    else:
        last = talk.strip().splitlines()[-1:] or ["no message"]
        error = f"the process measuring {name!r} failed: {last[0]}"
    return {**config.blank(job), "status": status, "error": error}
