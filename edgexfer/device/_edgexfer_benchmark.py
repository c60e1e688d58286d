"""Runs the benchmark: rounds of fresh processes, one result file, a table, a recommendation. Standard library only."""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
import sys
from typing import Any, Dict, List, Mapping, Sequence

import _edgexfer_child as child
import _edgexfer_emulation as emulation
import _edgexfer_files as files
import _edgexfer_machine as machine
import _edgexfer_plan as planning
import _edgexfer_recommend as recommending
import _edgexfer_rounds as rounds
import _edgexfer_stability as stability
import _edgexfer_statistics as statistics
import _edgexfer_table as table
from _edgexfer_environment import DeviceError, is_32_bit, say
from _edgexfer_plan import Plan
from _edgexfer_runtime import check_runtime, usable_cores

VERSION = "EDGEXFER_VERSION"  # told by `edgexfer bench`, where there is no bundle to tell it


def benchmark(plan: Plan) -> int:
    """Measures everything in ``plan``, writes the result, prints the table; the exit code.

    Raises:
        DeviceError: The result cannot be written, or a model is not the one that was bundled.
    """
    created = datetime.datetime.now(datetime.timezone.utc)
    out = plan.out or default_name(created)
    files.check_target(out, plan.force)
    for runtime in plan.runtimes:
        check_runtime(runtime)
    planning.check(plan)
    signs = emulation.signs()
    for warning in _warnings(plan, signs):
        say(f"note: {warning}")
    jobs = planning.jobs(plan, bool(signs))
    with child.Interruption() as interruption:
        configs = rounds.measure_all(
            jobs,
            plan.precision,
            lambda job: child.measure(job, interruption),
            lambda: interruption.count > 0,
            lambda so_far: _keep_so_far(out, _result(created, plan, signs, so_far)),
        )
        _more(plan, jobs, configs, interruption)
    result = _result(created, plan, signs, configs)
    say(table.render(configs))
    _talk(plan, bool(signs), configs)
    _keep(out, result)
    _recommend(plan, result)
    _print(plan, out, configs)
    if interruption.count:
        say(f"interrupted; what was measured until then is in {out}")
        return 130
    return 0 if all(one["status"] == "ok" for one in configs) else 1


def default_name(created: datetime.datetime) -> str:
    """``bench-<host>-<UTC time>.json``."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "host"
    return f"bench-{host}-{created.strftime('%Y%m%dT%H%M%SZ')}.json"


def _more(
    plan: Plan,
    jobs: Sequence[Mapping[str, Any]],
    configs: Sequence[Dict[str, Any]],
    interruption: child.Interruption,
) -> None:
    """Loading from a cold file, and the time of operators: in processes of their own, once a model and runtime."""
    done: Dict[Any, Dict[str, Any]] = {}
    for job, config in zip(jobs, configs):
        if interruption.count or job["verify_only"] or config["status"] != "ok":
            continue
        key = job["sha256"], job["runtime"]
        if key not in done:
            done[key] = child.measure({**job, "cold": True}, interruption)
        config["load_cold_s"] = done[key]["load_cold_s"]
        if plan.profile and job["batch"] == 1 and job["threads"] == plan.threads[0] and not interruption.count:
            found = child.measure({**job, "profile": True}, interruption)
            config["profile"] = found["profile"]
            if found["error"]:
                say(f"note: no profile: {found['error']}")


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
        "settings": plan.settings(),
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


def _talk(plan: Plan, emulated: bool, configs: Sequence[Mapping[str, Any]]) -> None:
    """What the table does not say."""
    if emulated and plan.time_anyway:
        say("emulated: these times are not latencies")
    for config in configs:
        if config["profile"]:
            say(table.render_profile(config))
        if config["scenario"] == planning.SUSTAINED and len(config["observed"].get("during", ())) > 1:
            say(table.render_course(config))
    for verdict in stability.sentences(configs):
        say(verdict)
    for error in dict.fromkeys(c["error"] for c in configs if c["error"] and c["status"] != "interrupted"):
        say(f"error: {error}")


def _recommend(plan: Plan, result: Mapping[str, Any]) -> None:
    found = None if result["emulated"] else recommending.recommend(result["configs"])
    if found is None:
        return
    for line in recommending.sentences(found):
        say(line)
    bundle = files.bundle_of(plan.models[0])
    if bundle is not None and all(os.path.dirname(m) == os.path.dirname(plan.models[0]) for m in plan.models):
        recommending.write(found, result, bundle.folder)


def _keep_so_far(out: str, result: Mapping[str, Any]) -> None:
    """Writes what there is, for the case of a kill; where that fails, the end will tell."""
    try:
        files.write_json(out, result)
    except DeviceError as error:
        say(f"note: {error}")


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
    kept = (
        "model", "sha256", "precision", "runtime", "threads", "spinning", "scenario", "batch", "status", "verified",
        "top1", "error", "load_s", "load_cold_s", "first_s", "stability",
    )  # fmt: skip
    summaries = [{**{k: c[k] for k in kept}, **statistics.summary(c["latency_s"])} for c in configs]
    sys.stdout.write(json.dumps({"result": out, "configs": summaries}, sort_keys=True) + "\n")
