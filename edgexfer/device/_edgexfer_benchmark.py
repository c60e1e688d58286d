"""Runs the benchmark: one fresh process a model and thread count, one result file. Standard library only."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

import _edgexfer_config as config
import _edgexfer_emulation as emulation
import _edgexfer_files as files
import _edgexfer_machine as machine
import _edgexfer_statistics as statistics
import _edgexfer_table as table
from _edgexfer_environment import HERE, DeviceError, is_32_bit, say
from _edgexfer_runtime import usable_cores

if TYPE_CHECKING:
    import _edgexfer_measure  # noqa: F401  # runs in a process of its own; the type checker finds it here

VERSION = "EDGEXFER_VERSION"  # told by `edgexfer bench`, where there is no bundle to tell it
LABELLED_EMULATED = 8


@dataclass(frozen=True)
class Plan:
    """What to measure, and how.

    Attributes:
        models: ONNX files.
        threads: Thread counts.
        min_seconds: Least time a configuration is measured.
        min_runs: Least inferences a configuration is measured.
        runtime: Name of the runtime.
        verify_only: Prove the answers, time nothing.
        time_anyway: Time even under emulation.
        labelled: How many of the bundle's labelled samples to score; ``None`` for all.
        out: The result file; ``None`` for ``bench-<host>-<UTC time>.json`` here.
        force: Replace ``out``.
        as_json: Print a summary as JSON.
    """

    models: Tuple[str, ...]
    threads: Tuple[int, ...]
    min_seconds: float = 10.0
    min_runs: int = 100
    runtime: str = "onnxruntime"
    verify_only: bool = False
    time_anyway: bool = False
    labelled: Optional[int] = None
    out: Optional[str] = None
    force: bool = False
    as_json: bool = False


@dataclass
class Interruption:
    """Ctrl-C, handed on to the process that is measuring; a second one ends it at once."""

    child: Optional["subprocess.Popen[str]"] = None
    count: int = 0
    previous: Dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, self._hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _hand_on(self, number: int, frame: object) -> None:
        self.count += 1
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGINT if self.count == 1 else signal.SIGKILL)


def benchmark(plan: Plan) -> int:
    """Measures everything in ``plan``, writes the result, prints the table; the exit code.

    Raises:
        DeviceError: The result cannot be written, or a model is not the one that was bundled.
    """
    created = datetime.datetime.now(datetime.timezone.utc)
    out = plan.out or default_name(created)
    files.check_target(out, plan.force)
    signs = emulation.signs()
    for warning in _warnings(plan, signs):
        say(f"note: {warning}")
    with Interruption() as interruption:
        configs = _measure_all(plan, _jobs(plan, bool(signs)), interruption)
    result = _result(created, plan, signs, configs)
    say(table.render(configs))
    if signs and plan.time_anyway:
        say("emulated: these times are not latencies")
    for error in dict.fromkeys(c["error"] for c in configs if c["error"] and c["status"] != "interrupted"):
        say(f"error: {error}")
    _keep(out, result)
    _print(plan, out, configs)
    if interruption.count:
        say(f"interrupted; what was measured until then is in {out}")
        return 130
    return 0 if all(one["status"] == "ok" for one in configs) else 1


def default_name(created: datetime.datetime) -> str:
    """``bench-<host>-<UTC time>.json``."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "host"
    return f"bench-{host}-{created.strftime('%Y%m%dT%H%M%SZ')}.json"


def _jobs(plan: Plan, emulated: bool) -> List[Dict[str, Any]]:
    verify_only = plan.verify_only or (emulated and not plan.time_anyway)
    labelled = LABELLED_EMULATED if plan.labelled is None and emulated else plan.labelled
    jobs = []
    for path in plan.models:
        bundle = files.bundle_of(path)
        sha256 = files.sha256_file(path)
        if bundle is not None:
            files.check_digest(bundle, path, sha256)
        samples = bundle.samples if bundle is not None else None
        for threads in plan.threads[:1] if verify_only else plan.threads:
            jobs.append(
                {
                    "model": path,
                    "sha256": sha256,
                    "threads": threads,
                    "runtime": plan.runtime,
                    "verify_only": verify_only,
                    "min_seconds": plan.min_seconds,
                    "min_runs": plan.min_runs,
                    "samples": samples[0] if samples else None,
                    "labels": samples[1] if samples else None,
                    "labelled": labelled,
                }
            )
    return jobs


def _measure_all(plan: Plan, jobs: Sequence[Mapping[str, Any]], interruption: Interruption) -> List[Dict[str, Any]]:
    configs = []
    for number, job in enumerate(jobs, 1):
        if interruption.count:
            break
        doing = "verifying" if job["verify_only"] else f"verifying, then timing for {plan.min_seconds:g} s or more"
        threads = f"{job['threads']} thread{'s' if job['threads'] > 1 else ''}"
        say(f"[{number}/{len(jobs)}] {os.path.basename(job['model'])}, {threads}: {doing}")
        configs.append(_in_child(job, interruption))
    return configs


def _in_child(job: Mapping[str, Any], interruption: Interruption) -> Dict[str, Any]:
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
        found = _lost(job, child.returncode, talk, interruption.count)
    return found


def _lost(job: Mapping[str, Any], code: int, talk: str, interruptions: int) -> Dict[str, Any]:
    """What is known of a process that ended without an answer."""
    name = os.path.basename(job["model"])
    status = "failed"
    if interruptions:
        status, error = "interrupted", "interrupted"
    elif code == -signal.SIGKILL:
        status = "killed"
        error = f"the process measuring {name!r} was killed, most likely for lack of memory; free some, or add swap"
    elif code < 0:
        death = signal.Signals(-code).name
        error = f"the process measuring {name!r} died of {death}; this onnxruntime may not suit the processor"
    else:
        last = talk.strip().splitlines()[-1:] or ["no message"]
        error = f"the process measuring {name!r} failed: {last[0]}"
    return {**config.blank(job), "status": status, "error": error}


def _result(
    created: datetime.datetime, plan: Plan, signs: Sequence[str], configs: Sequence[Mapping[str, Any]]
) -> Dict[str, Any]:
    bundle = files.bundle_of(plan.models[0])
    return {
        "format": files.FORMAT,
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "edgexfer_version": bundle.edgexfer_version if bundle else os.environ.get(VERSION, "unknown"),
        "machine": machine.describe(),
        "emulated": bool(signs),
        "emulation_signs": list(signs),
        "settings": {"min_seconds": plan.min_seconds, "min_runs": plan.min_runs},
        "configs": list(configs),
    }


def _warnings(plan: Plan, signs: Sequence[str]) -> List[str]:
    found = []
    cores = usable_cores()
    if signs and not plan.time_anyway:
        found.append(f"this processor is emulated ({signs[0]}): answers are verified, nothing is timed (--time-anyway)")
    elif signs:
        found.append(f"this processor is emulated ({signs[0]}): the times mean nothing")
    if max(plan.threads) > cores and not plan.verify_only:
        found.append(f"{max(plan.threads)} threads on {cores} usable cores are slower, not faster: expect poor figures")
    if is_32_bit():
        found.append("this is a 32-bit Python: slower than a 64-bit one, and onnxruntime publishes nothing for it")
    return found


def _keep(out: str, result: Mapping[str, Any]) -> None:
    """Writes the result; where that fails, the measurement goes to stdout rather than be lost."""
    try:
        files.write_json(out, result)
    except DeviceError:
        sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
        say("the result could not be written; it stands on stdout instead")
        raise


def _print(plan: Plan, out: str, configs: Sequence[Mapping[str, Any]]) -> None:
    if not plan.as_json:
        sys.stdout.write(out + "\n")
        return
    kept = ("model", "sha256", "precision", "threads", "status", "verified", "top1", "error", "load_s", "first_s")
    summaries = [{**{k: c[k] for k in kept}, **statistics.summary(c["latency_s"])} for c in configs]
    sys.stdout.write(json.dumps({"result": out, "configs": summaries}, sort_keys=True) + "\n")
