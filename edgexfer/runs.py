"""A run: the folder that a training leaves behind, read and written without loading a network.

``run.json`` says what was trained and how, ``weights.safetensors`` holds the best weights by validation,
``metrics.jsonl`` one line an epoch, ``predictions.jsonl`` one line a validation or test picture, ``log.txt`` what was
said, and ``resume/`` the state of a training that has not ended.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import FormatError
from edgexfer.files import FORMAT, read_json, sha256_file, write_json, write_text
from edgexfer.preprocessing import Preprocessing
from edgexfer.version import __version__

RUN_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.jsonl"
PREDICTIONS_FILE = "predictions.jsonl"
LOG_FILE = "log.txt"
RESUME_FOLDER = "resume"
BASELINE_FOLDER = "hard-label-baseline"
"""The run of the same network without a teacher, inside that of a student."""
_KINDS = {
    **dict.fromkeys(("model", "splits_fingerprint", "created", "edgexfer_version"), str),
    "seed": int,
    **dict.fromkeys(("classes", "parents"), list),
    **dict.fromkeys(("recipe", "scores"), dict),
}


@dataclass(frozen=True)
class Run:
    """What ``run.json`` holds.

    Attributes:
        model: Name in the registry of networks, or ``path/to/net.py:build``.
        model_sha256: SHA-256 of the user's own network file; ``None`` for a registered network.
        classes: Class names in the order of the outputs.
        preprocessing: What the network expects of its input.
        splits_fingerprint: Fingerprint of the data it was trained and scored on.
        seed: Seed of initialisation, order and augmentation.
        recipe: Every option that shaped the training, ``{"command": "finetune" | "distill", ...}``.
        parents: What it came from: ``[{"role": "teacher" | "weights", "name": ..., "sha256": ...}]``.
        scores: ``{"val_top1", "test_top1", "val_images", "test_images", "parameters", "operations",
            "weights_bytes", "seconds", ...}``; ``test_top1`` is ``None`` without a test split.
        created: UTC time, ISO 8601.
        edgexfer_version: The version that wrote it.
    """

    model: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    splits_fingerprint: str
    seed: int
    recipe: Mapping[str, Any]
    parents: tuple[Mapping[str, Any], ...]
    scores: Mapping[str, Any]
    model_sha256: str | None = None
    created: str = ""
    edgexfer_version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """The value as ``run.json`` holds it."""
        return {
            "format": FORMAT,
            "created": self.created or utc_now(),
            "model": self.model,
            "model_sha256": self.model_sha256,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_dict(),
            "splits_fingerprint": self.splits_fingerprint,
            "seed": self.seed,
            "recipe": dict(self.recipe),
            "parents": [dict(p) for p in self.parents],
            "scores": dict(self.scores),
            "edgexfer_version": self.edgexfer_version,
        }


def utc_now() -> str:
    """The time now, in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_run(path: Path) -> bool:
    """Whether ``path`` is a folder with a ``run.json``."""
    return (path / RUN_FILE).is_file()


def read_run(folder: Path) -> Run:
    """Reads ``run.json`` of a run folder.

    Raises:
        FormatError: The folder holds no finished run, or one that is damaged or of a newer format.
    """
    if not is_run(folder):
        raise FormatError(_not_a_run(folder))
    value = read_json(folder / RUN_FILE, "run")
    try:
        run = Run(
            model=value["model"],
            model_sha256=value.get("model_sha256"),
            classes=tuple(value["classes"]),
            preprocessing=Preprocessing.from_dict(value["preprocessing"]),
            splits_fingerprint=value["splits_fingerprint"],
            seed=value["seed"],
            recipe=value["recipe"],
            parents=tuple(value["parents"]),
            scores=value["scores"],
            created=value["created"],
            edgexfer_version=value["edgexfer_version"],
        )
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"the run {str(folder)!r} is incomplete: {error} is missing or malformed in run.json"
        ) from error
    odd = [f"{key} is {str(value[key])[:40]!r}" for key, kind in _KINDS.items() if not isinstance(value[key], kind)]
    odd += [f"a class is {name!r}" for name in run.classes if not isinstance(name, str)]
    odd += [f"a parent is {parent!r}" for parent in run.parents if not isinstance(parent, Mapping)]
    if odd:
        raise FormatError(f"the run {str(folder)!r} is damaged: in run.json {'; '.join(odd[:3])}; make it anew")
    return run


def write_run(folder: Path, run: Run) -> None:
    """Writes ``run.json``; written last, it is what makes the folder a finished run."""
    write_json(folder / RUN_FILE, run.to_dict())


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the run's weight file: the identity of the trained network."""
    return sha256_file(folder / WEIGHTS_FILE)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a ``.jsonl`` file; a missing file is an empty one.

    Raises:
        FormatError: A line is not a JSON object, or the file is no text.
    """
    if not path.is_file():
        return []
    try:
        whole = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{str(path)!r} is damaged: it is no UTF-8 text ({error}); make it anew") from error
    lines = []
    for number, text in enumerate(whole.removesuffix("\n").split("\n") if whole else (), 1):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{str(path)!r}, line {number}, is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise FormatError(f"{str(path)!r}, line {number}, holds {type(value).__name__} where an object is expected")
        lines.append(value)
    return lines


def write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Writes a ``.jsonl`` file, whole or not at all."""
    write_text(path, "".join(json.dumps(dict(v), sort_keys=True, ensure_ascii=False) + "\n" for v in values))


def _not_a_run(folder: Path) -> str:
    if not folder.exists():
        return f"there is no run {str(folder)!r}; make one with edgexfer finetune or edgexfer distill"
    if (folder / RESUME_FOLDER).is_dir():
        return f"the training in {str(folder)!r} has not ended; repeat its command with --resume"
    return f"{str(folder)!r} is not a run: it holds no {RUN_FILE}"
