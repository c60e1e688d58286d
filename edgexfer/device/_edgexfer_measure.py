"""Measures one configuration once, in a process of its own: prove first, then time.

``bench.py`` starts this file with a job as JSON on stdin and reads the configuration of a result from its stdout. The
session that is timed is the one that was proven.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_config as config
import _edgexfer_machine as machine
import _edgexfer_model as model
import _edgexfer_profile as profiling
import _edgexfer_queries as queries
import _edgexfer_timing as timing
import numpy as np
from _edgexfer_environment import DeviceError
from _edgexfer_runtime import Runtime, open_model
from _edgexfer_sensors import Sensors

PROFILED = 30


def measure(job: Mapping[str, Any], found: Dict[str, Any]) -> None:
    """Fills ``found`` with a configuration of a result, step by step, so that an interruption keeps what there is.

    Args:
        job: As ``_edgexfer_plan.jobs`` makes them; with ``profile`` the operators are timed instead, with ``cold`` only
            the loading.
        found: Starts as ``config.blank(job)``.

    Raises:
        DeviceError: The model cannot be opened or run.
    """
    artifact = model.read_artifact(job["model"])
    if artifact is not None:
        found.update(precision=artifact.precision, network=artifact.model, parent_sha256=artifact.parent_sha256)
    if job.get("cold"):
        _forget(job["model"])
    profile = os.path.join(tempfile.gettempdir(), f"edgexfer-{os.getpid()}") if job.get("profile") else None
    begun = time.perf_counter()
    runtime = open_model(job["model"], job["threads"], job["runtime"], spinning=job["spinning"], profile=profile)
    load_s = time.perf_counter() - begun
    if job.get("cold"):
        found.update(load_cold_s=load_s, status="ok")
        return
    found.update(runtime_version=runtime.version, session=dict(runtime.options), affinity=machine.affinity())
    query = queries.build(runtime, artifact, job)
    found["input"] = query.input
    begun = time.perf_counter()
    _guarded(query.run)
    first_s = time.perf_counter() - begun
    if not _proven(runtime, artifact, query, job, found):
        return
    found.update(load_s=load_s, first_s=first_s)
    if job.get("profile"):
        found.update(profile=_profile(runtime, query.run, job), status="ok")
        return
    if not job["verify_only"]:
        found["timer_overhead_s"] = timing.overhead_s()
        _time(query.run, job, found)
    found["peak_rss_bytes"] = machine.peak_rss_bytes()
    if artifact is not None and job.get("samples") and not job["head"]:
        found["top1"], found["top1_images"] = top1(runtime, artifact, job)
    found["status"] = "ok"


def _proven(
    runtime: Runtime,
    artifact: Optional[model.Artifact],
    query: queries.Query,
    job: Mapping[str, Any],
    found: Dict[str, Any],
) -> bool:
    """Whether the golden samples, and a head's logits on them, come out as they should; ``found`` says why not."""
    verdict = model.verify(runtime, artifact)
    found.update(verified=verdict.verified, verification=verdict.to_dict())
    wrong = model.wrong_answers(job["model"], verdict) if verdict.verified is False else query.wrong_head()
    if wrong is not None:
        found.update(status="wrong answers", error=wrong, verified=False)
    return wrong is None


def top1(runtime: Runtime, artifact: model.Artifact, job: Mapping[str, Any]) -> Tuple[Optional[float], int]:
    """Top-1 on the bundle's labelled samples, and on how many; ``(None, 0)`` where they do not fit the model."""
    try:
        samples = np.load(job["samples"], mmap_mode="r", allow_pickle=False)
        labels = np.load(job["labels"], allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DeviceError(f"the bundle's labelled samples are damaged ({error}); copy the bundle again") from error
    if samples.shape[1:] != (*artifact.input_size, 3) or samples.dtype != np.uint8 or len(samples) != len(labels):
        return None, 0
    count = min(len(labels), len(labels) if job.get("labelled") is None else int(job["labelled"]))
    feed = model.feeder(runtime, artifact)
    right = 0
    for i in range(count):
        logits = runtime.run(["logits"], feed(np.ascontiguousarray(samples[i : i + 1])))[0]
        right += int(np.argmax(logits[0]) == labels[i])
    return (right / count, count) if count else (None, 0)


def _time(run: Callable[[], Any], job: Mapping[str, Any], found: Dict[str, Any]) -> None:
    sensors = Sensors()
    observed: Dict[str, Any] = {"before": sensors.observe(thorough=True), "during": []}
    found["observed"] = observed
    warmup = timing.warm_up(run, limit_s=max(1.0, job["min_seconds"] / 2))
    observed["warmup"] = warmup.to_dict()
    nanoseconds: List[int] = []
    try:
        timing.time_runs(
            run,
            nanoseconds,
            min_seconds=job["min_seconds"],
            min_runs=job["min_runs"],
            between=lambda: observed["during"].append({**sensors.observe(), "runs": len(nanoseconds)}),
        )
    finally:
        found["latency_s"] = [n / timing.SECOND for n in nanoseconds]
        observed["after"] = sensors.observe(thorough=True)


def _forget(path: str) -> None:
    """Asks the kernel to drop what it holds of a file, so that loading it reads the card."""
    if hasattr(os, "posix_fadvise"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _profile(runtime: Runtime, run: Callable[[], Any], job: Mapping[str, Any]) -> List[Dict[str, Any]]:
    for _ in range(PROFILED):
        run()
    written = runtime.end_profiling()
    if not written:
        raise DeviceError(f"{runtime.name} tells no time of single operators; leave out --profile, or use onnxruntime")
    return profiling.read_profile(written, job["model"])


def _guarded(run: Callable[[], Any]) -> None:
    try:
        run()
    except Exception as error:  # onnxruntime raises bare Exceptions and its own family
        first = (str(error).splitlines() or ["no reason given"])[0]
        if "allocate memory" in first or "bad_alloc" in first:
            raise DeviceError(
                "the model opens, but there is not enough memory to run it; free some, add swap, or use fewer pictures"
                " a query"
            ) from error
        raise DeviceError(f"the model opens but does not run here: {first}") from error


def main() -> int:
    """Reads the job from stdin, writes the configuration to stdout."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what native libraries print is talk
    job = json.load(sys.stdin)
    found = config.blank(job)
    if job.get("affinity") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["affinity"])  # threads that the runtime starts inherit it
    try:
        measure(job, found)
    except KeyboardInterrupt:
        found.update(status="interrupted", error="interrupted")
    except DeviceError as error:
        found.update(status="failed", error=str(error))
    except MemoryError:
        found.update(status="failed", error="out of memory")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with answer:
        json.dump(found, answer, allow_nan=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
