"""What a benchmark is to measure: from the options to the jobs, one a configuration. Standard library only.

Scenarios mean what they mean in MLPerf Inference (https://github.com/mlcommons/inference_policies): ``single-stream``
asks for one picture as soon as the last one is answered, ``multi-stream`` for ``streams`` pictures a query, ``offline``
for batches back to back, of which the throughput counts. ``sustained`` is a single stream for minutes, to see how
latency follows temperature and clock.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import _edgexfer_files as files
from _edgexfer_board import pinned_cores
from _edgexfer_environment import DeviceError
from _edgexfer_runtime import usable_cores

SINGLE, MULTI, OFFLINE, SUSTAINED = "single-stream", "multi-stream", "offline", "sustained"
SCENARIOS = (SINGLE, MULTI, OFFLINE, SUSTAINED)
VERIFY_ONLY = "verify-only"
LABELLED_EMULATED = 8


@dataclass(frozen=True)
class Plan:
    """What to measure, and how.

    Attributes:
        models: ONNX files.
        threads: Thread counts.
        min_seconds: Least time a configuration is measured, all rounds together.
        min_runs: Least queries a configuration is measured.
        rounds: How often each configuration gets its turn, each time in a fresh process.
        precision: Relative half-width of the median's interval at which a configuration is done early.
        scenarios: Of ``SCENARIOS``.
        streams: Pictures a query of ``multi-stream``.
        batches: Pictures a query of ``offline``.
        sustained_seconds: How long ``sustained`` lasts.
        spinning: Whether threads wait actively: ``(True,)``, ``(False,)`` or both.
        pinned: Whether a process is bound to as many cores as it has threads: likewise.
        runtimes: Names of runtimes.
        head: A head of adapt.py to check and time on top.
        profile: Also tell the time of each operator.
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
    rounds: int = 3
    precision: Optional[float] = None
    scenarios: Tuple[str, ...] = (SINGLE,)
    streams: int = 8
    batches: Tuple[int, ...] = (8,)
    sustained_seconds: float = 300.0
    spinning: Tuple[bool, ...] = (True,)
    pinned: Tuple[bool, ...] = (False,)
    runtimes: Tuple[str, ...] = ("onnxruntime",)
    head: Optional[str] = None
    profile: bool = False
    verify_only: bool = False
    time_anyway: bool = False
    labelled: Optional[int] = None
    out: Optional[str] = None
    force: bool = False
    as_json: bool = False

    def settings(self) -> Dict[str, Any]:
        """What a result keeps of it: what moves a figure but belongs to no single configuration."""
        return {
            "min_seconds": self.min_seconds,
            "min_runs": self.min_runs,
            "rounds": self.rounds,
            "precision": self.precision,
        }


def jobs(plan: Plan, emulated: bool) -> List[Dict[str, Any]]:
    """The configurations to measure, in the order in which a round takes them.

    Raises:
        DeviceError: A model is not the file that was bundled, or no processor core is left to bind to.
    """
    verify_only = plan.verify_only or (emulated and not plan.time_anyway)
    labelled = LABELLED_EMULATED if plan.labelled is None and emulated else plan.labelled
    found = []
    for path in plan.models:
        sha256 = files.sha256_file(path)
        bundle = files.bundle_of(path)
        if bundle is not None:
            files.check_digest(bundle, path, sha256)
        samples = bundle.samples if bundle is not None else None
        common = {
            "model": path,
            "sha256": sha256,
            "verify_only": verify_only,
            "min_runs": plan.min_runs,
            "samples": samples[0] if samples else None,
            "labels": samples[1] if samples else None,
            "labelled": labelled,
            "head": plan.head,
        }
        found += [{**common, **settings} for settings in _settings(plan, verify_only)]
    return found


def _settings(plan: Plan, verify_only: bool) -> List[Dict[str, Any]]:
    threads = plan.threads[:1] if verify_only else plan.threads
    found = []
    for runtime, count, (scenario, batch) in itertools.product(plan.runtimes, threads, _queries(plan, verify_only)):
        for spinning, pinned in itertools.product(plan.spinning, plan.pinned):
            if (count == 1 and spinning != plan.spinning[0]) or (verify_only and (spinning, pinned) != _first(plan)):
                continue  # one thread waits for nobody
            sustained = scenario == SUSTAINED
            found.append(
                {
                    "runtime": runtime,
                    "threads": count,
                    "scenario": scenario,
                    "batch": batch,
                    "spinning": spinning,
                    "affinity": pinned_cores(count) if pinned else None,
                    "min_seconds": plan.sustained_seconds if sustained else plan.min_seconds,
                    "rounds": 1 if sustained or verify_only else plan.rounds,
                }
            )
    return found


def _first(plan: Plan) -> Tuple[bool, bool]:
    return plan.spinning[0], plan.pinned[0]


def _queries(plan: Plan, verify_only: bool) -> List[Tuple[str, int]]:
    if verify_only:
        return [(VERIFY_ONLY, 1)]
    found = []
    for scenario in plan.scenarios:
        if scenario == OFFLINE:
            found += [(scenario, batch) for batch in plan.batches]
        else:
            found.append((scenario, plan.streams if scenario == MULTI else 1))
    return found


def check(plan: Plan) -> None:
    """Refuses what cannot be meant, before anything is measured.

    Raises:
        DeviceError: Say, more threads than cores to bind them to.
    """
    if True in plan.pinned and max(plan.threads) > usable_cores():
        raise DeviceError(
            f"{max(plan.threads)} threads cannot be bound to {usable_cores()} usable cores one by one; ask for fewer"
            " threads, or leave --affinity free"
        )
    if plan.head is not None and not os.path.isfile(plan.head):
        raise DeviceError(f"cannot read the head {plan.head!r}: there is no such file; make it with adapt.py")
