"""One configuration of a result: a model in a runtime, its threads, how it is asked. Standard library only."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping


def blank(job: Mapping[str, Any]) -> Dict[str, Any]:
    """A configuration of which only the job is known."""
    return {
        "model": os.path.basename(job["model"]),
        "network": None,
        "sha256": job["sha256"],
        "parent_sha256": None,
        "precision": None,
        "runtime": job["runtime"],
        "runtime_version": None,
        "threads": job["threads"],
        "scenario": job["scenario"],
        "batch": job["batch"],
        "spinning": job["spinning"],
        "head": os.path.basename(job["head"]) if job.get("head") else None,
        "latency_s": [],
        "load_s": None,
        "load_cold_s": None,
        "first_s": None,
        "peak_rss_bytes": None,
        "size_bytes": os.path.getsize(job["model"]),
        "top1": None,
        "top1_images": 0,
        "verified": None,
        "verification": None,
        "status": "failed",
        "error": None,
        "session": {},
        "affinity": None,
        "pinned": bool(job.get("affinity")),
        "input": {},
        "observed": {},
        "rounds": [],
        "timer_overhead_s": None,
        "stability": None,
        "median_half_width": None,
        "profile": None,
    }
