"""Tiny artifacts and results of them with chosen figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.export.bundle import write_bundle
from edgexfer.files import sha256_file
from tests.device import artifacts
from tests.results import resultfiles

PI = {"host": "pi", "board": "Raspberry Pi 4 Model B Rev 1.4", "cpu": "Cortex-A72", "architecture": "aarch64"}
BOX = {"host": "box", "board": "Mini", "cpu": "N100", "architecture": "x86_64", "governor": "powersave"}


def artifact(path: Path, **options: Any) -> Path:
    """A classifier of colours; ``weight`` makes files of another content."""
    made: Path = artifacts.write(path, weight=options.pop("weight", path.stem.replace(".", "_")), **options)
    return made


def config(path: Path, ms: float, top1: float | None = None, **changes: Any) -> dict[str, Any]:
    """A configuration of a result in which ``path`` took ``ms`` and scored ``top1``."""
    count, swing = changes.pop("count", 200), changes.pop("swing", 0.01)
    times = ms / 1000 * (1 + swing * np.sin(np.arange(count)))
    told = {
        "model": path.name, "sha256": sha256_file(path), "parent_sha256": "ab" * 32, "top1": top1, "top1_images": 256,
        "latency_s": [float(t) for t in times], "peak_rss_bytes": 50_000_000, "size_bytes": path.stat().st_size,
    }  # fmt: skip
    return resultfiles.config(**{**told, **changes})


def result(path: Path, *configs: dict[str, Any], machine: dict[str, Any] = PI, **changes: Any) -> Path:
    """A result file."""
    return resultfiles.save(path, *configs, machine=machine, **changes)


def proof(artifact_path: Path, **figures: Any) -> Path:
    """The proof file beside an artifact."""
    path = artifact_path.with_name(f"{artifact_path.stem}.proof.json")
    path.write_text(json.dumps({"format": 1, "artifact": artifact_path.name, "int8": figures}))
    return path


def full(path: Path, parent: Path | None = None, **options: Any) -> Path:
    """An artifact that may be bundled, with its proof inside."""
    proven = {"proof": {"fold_max_rel_error_f64": None, "max_abs_error": 0.0, "top1_agreement": 1.0, "images": 4}}
    made_of = {} if parent is None else {"parent_sha256": sha256_file(parent)}
    return artifact(path, metadata={"input": "uint8", **proven, **made_of}, **options)


def bundled(out: Path, *paths: Path, tar: bool = False) -> Path:
    """A bundle of artifacts with nine labelled samples."""
    generator = np.random.default_rng(0)
    samples = generator.integers(0, 256, (9, 12, 16, 3), dtype=np.uint8)
    labels = samples.mean(axis=(1, 2)).argmax(axis=1)
    return write_bundle(
        list(paths), out, samples=samples, labels=labels, classes=("red", "green", "blue"),
        files=[str(i) for i in range(9)], tar=tar,
    )  # fmt: skip
