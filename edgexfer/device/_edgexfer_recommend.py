"""``recommended.json``: the fastest way to run the models of a bundle on this machine. Standard library only.

``bench.py`` writes it into the bundle once it compared two configurations or more; ``predict.py`` uses it on the same
machine. Models whose top-1 on the bundle's pictures is more than a point below the best one's are not recommended.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Sequence

import _edgexfer_files as files
from _edgexfer_environment import DeviceError, say
from _edgexfer_statistics import percentile

NAME = "recommended.json"
WORSE_TOP1 = 0.01
SAME_MACHINE = ("host", "cpu", "cores", "architecture")


def recommend(configs: Sequence[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
    """The best configurations: ``{latency, throughput}``; ``None`` where fewer than two can be compared.

    Latency is the median of single pictures; throughput is pictures a second of whatever was measured.
    """
    good = [
        c for c in configs if c["status"] == "ok" and c["latency_s"] and c["verified"] is not False and not c["head"]
    ]
    best = max((c["top1"] for c in good if c["top1"] is not None), default=None)
    good = [c for c in good if best is None or c["top1"] is None or c["top1"] >= best - WORSE_TOP1]
    if len(good) < 2:
        return None
    single = [c for c in good if c["batch"] == 1]
    found = {"throughput": _described(max(good, key=_images_per_s))}
    if single:
        found["latency"] = _described(min(single, key=_median))
    return found


def write(found: Mapping[str, Any], result: Mapping[str, Any], folder: str) -> Optional[str]:
    """Writes it into ``folder``; a folder that cannot be written to costs a note, not the measurement."""
    path = os.path.join(folder, NAME)
    machine = {key: result["machine"].get(key) for key in SAME_MACHINE}
    value = {"format": files.FORMAT, "created": result["created"], "machine": machine, **found}
    try:
        files.write_json(path, value)
    except DeviceError as error:
        say(f"note: no {NAME}: {error}")
        return None
    return path


def read(folder: str, models: Sequence[str], machine: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """The recommendation for latency, ``{path, threads, spinning, affinity, runtime, ...}``.

    ``None`` where there is none, or it is of another machine or of models that are not there.
    """
    path = os.path.join(folder, NAME)
    if not os.path.isfile(path):
        return None
    try:
        value = files.read_json(path, "recommendation")
        found = dict(value["latency"])
        there = [m for m in models if os.path.basename(m) == found["model"] and files.sha256_file(m) == found["sha256"]]
        same = all(value["machine"].get(key) == machine.get(key) for key in SAME_MACHINE)
        if not there or not same:
            say(f"note: {path} is of another machine or another model; run bench.py again")
            return None
        threads, spinning, runtime = int(found["threads"]), bool(found["spinning"]), str(found["runtime"])
        affinity = [int(core) for core in found["affinity"]] if found.get("affinity") else None
    except (DeviceError, KeyError, TypeError, ValueError, AttributeError) as error:
        say(f"note: {path} is not used ({error}); run bench.py again")
        return None
    return {"path": there[0], "threads": threads, "spinning": spinning, "runtime": runtime, "affinity": affinity}


def sentences(found: Mapping[str, Any]) -> List[str]:
    """What is recommended, in words."""
    lines = []
    for goal in ("latency", "throughput"):
        if goal in found:
            one = found[goal]
            words = [f"{one['threads']} thread{'s' if one['threads'] != 1 else ''}"]
            words += [] if one["spinning"] or one["threads"] == 1 else ["no spinning"]
            words += [f"on cores {','.join(map(str, one['affinity']))}"] if one["affinity"] else []
            words += [f"{one['batch']} pictures at once"] if one["batch"] > 1 else []
            words += [str(one["runtime"])]
            figure = f"{one['p50_s'] * 1000:.3g} ms" if goal == "latency" else f"{one['images_per_s']:.4g} images/s"
            lines.append(f"best {goal}: {one['model']}, {', '.join(words)}: {figure}")
    return lines


def _described(config: Mapping[str, Any]) -> Dict[str, Any]:
    keys = (
        "model",
        "sha256",
        "precision",
        "runtime",
        "runtime_version",
        "threads",
        "spinning",
        "batch",
        "scenario",
        "top1",
    )
    pinned = config["affinity"] if config.get("pinned") else None
    return {
        **{key: config[key] for key in keys},
        "affinity": pinned,
        "p50_s": _median(config),
        "images_per_s": round(_images_per_s(config), 3),
    }


def _median(config: Mapping[str, Any]) -> float:
    return percentile(sorted(config["latency_s"]), 50)


def _images_per_s(config: Mapping[str, Any]) -> float:
    return float(config["batch"]) * len(config["latency_s"]) / float(sum(config["latency_s"]))
