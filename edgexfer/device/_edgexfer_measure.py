"""Measures one model with one thread count in a process of its own: prove first, then time.

``bench.py`` starts this file with a job as JSON on stdin and reads the configuration of a result from its stdout. The
session that is timed is the one that was proven.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import _edgexfer_config as config
import _edgexfer_machine as machine
import _edgexfer_model as model
import _edgexfer_timing as timing
import numpy as np
from _edgexfer_environment import DeviceError
from _edgexfer_runtime import Runtime, open_model


def measure(job: Mapping[str, Any], found: Dict[str, Any]) -> None:
    """Fills ``found`` with a configuration of a result, step by step, so that an interruption keeps what there is.

    Args:
        job: ``{model, threads, runtime, verify_only, min_seconds, min_runs, samples, labels, labelled}``.
        found: Starts as ``config.blank(job)``.

    Raises:
        DeviceError: The model cannot be opened or run.
    """
    artifact = model.read_artifact(job["model"])
    if artifact is not None:
        found.update(precision=artifact.precision, network=artifact.model, parent_sha256=artifact.parent_sha256)
    begun = time.perf_counter()
    runtime = open_model(job["model"], job["threads"], job["runtime"])
    load_s = time.perf_counter() - begun
    found.update(runtime_version=runtime.version, session=dict(runtime.options), affinity=machine.affinity())
    feed = _first_feed(runtime, artifact)
    found["input"] = {name: [str(value.dtype), list(value.shape)] for name, value in feed.items()}
    run = functools.partial(runtime.run, _outputs(runtime, artifact), feed)
    begun = time.perf_counter()
    _guarded(run)
    first_s = time.perf_counter() - begun
    verdict = model.verify(runtime, artifact)
    found.update(verified=verdict.verified, verification=verdict.to_dict())
    if verdict.verified is False:
        found.update(status="wrong answers", error=model.wrong_answers(job["model"], verdict))
        return
    found.update(load_s=load_s, first_s=first_s)
    if not job["verify_only"]:
        _time(run, job, found)
    found["peak_rss_bytes"] = machine.peak_rss_bytes()
    if artifact is not None and job.get("samples"):
        found["top1"], found["top1_images"] = top1(runtime, artifact, job)
    found["status"] = "ok"


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
    sensors = machine.Sensors()
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
            between=lambda: observed["during"].append(sensors.observe()),
        )
    finally:
        found["latency_s"] = [n / timing.SECOND for n in nanoseconds]
        observed["after"] = sensors.observe(thorough=True)


def _first_feed(runtime: Runtime, artifact: Optional[model.Artifact]) -> Dict[str, Any]:
    if artifact is None:
        return model.random_feed(runtime)
    seed = int((artifact.golden or {}).get("seed", 0))
    return model.feeder(runtime, artifact)(model.golden_pixels(seed, artifact.input_size)[:1])


def _outputs(runtime: Runtime, artifact: Optional[model.Artifact]) -> List[str]:
    names = [tensor.name for tensor in runtime.outputs]
    return ["logits"] if artifact is not None and "logits" in names else names


def _guarded(run: Callable[[], Any]) -> None:
    try:
        run()
    except Exception as error:  # onnxruntime raises bare Exceptions and its own family
        raise DeviceError(f"the model opens but does not run here: {str(error).splitlines()[0]}") from error


def main() -> int:
    """Reads the job from stdin, writes the configuration to stdout."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what native libraries print is talk
    job = json.load(sys.stdin)
    found = config.blank(job)
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
