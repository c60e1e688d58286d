"""What the report found, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.runs import METRICS_FILE, RUN_FILE, Run


@dataclass(frozen=True)
class Predictions:
    """What a run said of the pictures of one split.

    Attributes:
        split: ``"test"``, or ``"val"`` where there is no test.
        files: Names of the pictures.
        labels: int64 ``(N,)``, positions in the run's classes.
        logits: float64 ``(N, K)``.
        skipped: Lines of that split that could not be used.
    """

    split: str
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.files)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The class named for each picture, ``(N,)``."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, ``(N, K)``."""
        shifted = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class FoundRun:
    """A run folder.

    Attributes:
        folder: Where it is.
        label: How the page calls the folder.
        run: Its ``run.json``.
        weights_sha256: Identity of its weights; ``None`` where the file is not there any more.
        metrics: One mapping an epoch.
        predictions: On test, else val; ``None`` where there are none.
    """

    folder: Path
    label: str
    run: Run
    weights_sha256: str | None
    metrics: tuple[Mapping[str, Any], ...]
    predictions: Predictions | None

    def origin(self, pointer: str) -> str:
        """Where a value of ``run.json`` stands."""
        return f"{self.label}/{RUN_FILE}#{pointer}"

    def metric_origin(self, line: int, key: str) -> str:
        """Where a value of ``metrics.jsonl`` stands; ``line`` from 0."""
        return f"{self.label}/{METRICS_FILE}#/{line}/{key}"

    @property
    def command(self) -> str:
        """``finetune``, ``distill``, ``baseline`` or what the recipe says."""
        return str(self.run.recipe.get("command", ""))


@dataclass(frozen=True)
class FoundArtifact:
    """An ONNX file.

    Attributes:
        path: Where it is (inside an archive: the archive).
        label: How the page calls it.
        sha256: Of the file.
        size_bytes: Of the file.
        info: Its ``edgexfer`` metadata; ``None`` for a foreign file.
        proof: The ``<stem>.proof.json`` beside it, or ``None``.
        proof_label: How the page calls that.
    """

    path: Path
    label: str
    sha256: str
    size_bytes: int
    info: Mapping[str, Any] | None
    proof: Mapping[str, Any] | None
    proof_label: str = ""

    @property
    def precision(self) -> str:
        """``float32``, ``int8``, or ``foreign`` for a file of another program."""
        return str((self.info or {}).get("precision", "foreign"))

    @property
    def int8_proof(self) -> Mapping[str, Any]:
        """What the proof file says of this file, where it is an int8 one; else empty."""
        told = (self.proof or {}).get("int8")
        return told if isinstance(told, Mapping) and self.precision == "int8" else {}


@dataclass(frozen=True)
class FoundResult:
    """A benchmark result file.

    Attributes:
        path: Where it is.
        label: How the page calls it.
        value: The whole object.
    """

    path: Path
    label: str
    value: Mapping[str, Any]

    @property
    def emulated(self) -> bool:
        """Whether its times mean nothing."""
        return bool(self.value.get("emulated"))

    @property
    def machine(self) -> Mapping[str, Any]:
        """The machine as the file describes it."""
        machine = self.value.get("machine")
        return machine if isinstance(machine, Mapping) else {}


@dataclass(frozen=True)
class Found:
    """Everything that a report is made of.

    Attributes:
        root: The folder that labels are relative to.
        runs: In the order of their paths.
        artifacts: Each file content once.
        results: Each file content once.
        notes: What lay there and could not be read, one sentence each.
        recommendations: What ``bench.py`` recommended, one mapping a machine and bundle.
    """

    root: Path
    runs: tuple[FoundRun, ...] = ()
    artifacts: tuple[FoundArtifact, ...] = ()
    results: tuple[FoundResult, ...] = ()
    notes: tuple[str, ...] = ()
    recommendations: tuple[Mapping[str, Any], ...] = ()
