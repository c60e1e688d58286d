"""One configuration of a benchmark result, and what may be shown of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgexfer.report.records import FoundArtifact, FoundResult, FoundRun
from edgexfer.words import counted

SINGLE, SUSTAINED = "single-stream", "sustained"


@dataclass(frozen=True)
class Config:
    """One configuration of a benchmark result.

    Attributes:
        result: The file it stands in.
        index: Its position there.
        value: What the file says.
        artifact: The ONNX file it measured, where that was found.
        run: The run that the file was exported from, where that was found.
        best: What ``bench.py`` recommended it for on that machine: ``latency``, ``throughput``.
    """

    result: FoundResult
    index: int
    value: Mapping[str, Any]
    artifact: FoundArtifact | None
    run: FoundRun | None
    best: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """Where one of its values stands."""
        return f"{self.result.label}#/configs/{self.index}/{key}"

    @cached_property
    def latency_s(self) -> Sequence[float]:
        """Every measured time of a query, which is one picture unless ``batch`` is more."""
        return list(self.value.get("latency_s") or [])

    @property
    def refusal(self) -> str | None:
        """Why no latency may be shown; ``None`` where it may."""
        status = self.value.get("status", "ok")
        if self.value.get("verified") is False:
            return "wrong answers"
        if status != "ok":
            return str(status)
        if self.result.emulated:
            return "emulated"
        return None if self.latency_s else "not timed"

    @property
    def is_latency(self) -> bool:
        """Whether its times are those of one picture at a time, and may be shown."""
        return self.refusal is None and self.is_single

    @property
    def name(self) -> str:
        """File name of the model."""
        return str(self.value.get("model") or "unnamed model")

    @property
    def threads(self) -> int | None:
        """Thread count."""
        threads = self.value.get("threads")
        return threads if isinstance(threads, int) else None

    @property
    def precision(self) -> str:
        """``float32``, ``int8`` or what the file says."""
        told = self.value.get("precision")
        if not told and self.artifact is not None and self.artifact.info is not None:
            told = self.artifact.info.get("precision")
        return str(told or "")

    @property
    def batch(self) -> int:
        """Pictures a query."""
        batch = self.value.get("batch")
        return batch if isinstance(batch, int) and batch > 0 else 1

    @property
    def scenario(self) -> str:
        """How it was asked: ``single-stream``, ``sustained``, ..."""
        return str(self.value.get("scenario") or SINGLE)

    @property
    def is_single(self) -> bool:
        """Whether its times are those of one picture at a time."""
        return self.batch == 1

    @property
    def way(self) -> Mapping[str, Any]:
        """How the file was asked; two files are compared where that is equal."""
        return {key: self.value.get(key) for key in _ASKED}

    def is_akin(self, other: Config) -> bool:
        """Whether both files were made of the same weights."""
        if self.run is not None and other.run is not None:
            return self.run is other.run
        return bool(self._identities() & other._identities())

    def _identities(self) -> set[str]:
        return {str(told) for key in ("sha256", "parent_sha256") if (told := self.value.get(key))}

    @property
    def title(self) -> str:
        """``student.int8 · int8 · 2 threads``, and whatever is unusual about it."""
        return " · ".join(self._words())

    def _words(self) -> Iterator[str]:
        stem = self.name.removesuffix(".onnx")
        yield stem
        if self.precision and self.precision not in stem:
            yield self.precision
        if self.threads is not None:
            yield counted(self.threads, "thread")
        if self.scenario != SINGLE:
            yield self.scenario
        if self.batch > 1:
            yield f"{self.batch} at once"
        if self.value.get("spinning") is False and self.threads != 1:
            yield "no spinning"
        if self.value.get("pinned") and isinstance(self.value.get("affinity"), list):
            yield f"on cores {','.join(map(str, self.value['affinity']))}"
        if self.value.get("runtime") not in (None, "onnxruntime"):
            yield str(self.value["runtime"])
        if self.value.get("head"):
            yield str(self.value["head"])


_ASKED = ("threads", "batch", "scenario", "head", "runtime", "runtime_version", "session", "spinning", "affinity")
GOALS = ("latency", "throughput")
_SAME_MACHINE = ("host", "cpu", "cores", "architecture")
_SAME_WAY = ("sha256", "threads", "batch", "scenario", "runtime", "spinning")


def recommended(
    value: Mapping[str, Any], machine: Mapping[str, Any], recommendations: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """What a configuration of that machine was recommended for."""
    here = [
        one for one in recommendations if all(mapping(one, "machine").get(k) == machine.get(k) for k in _SAME_MACHINE)
    ]
    return tuple(goal for goal in GOALS if any(_is_way(mapping(one, goal), value) for one in here))


def _is_way(told: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    pinned = value.get("affinity") if value.get("pinned") else None
    return told.get("affinity") == pinned and all(key in told and told[key] == value.get(key) for key in _SAME_WAY)


def mapping(value: Any, key: str) -> Mapping[str, Any]:
    """The object at ``key``; an empty one where there is none."""
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def objects(value: Any, key: str) -> list[Mapping[str, Any]]:
    """The list of objects at ``key``; an empty one where it is anything else."""
    inner = value.get(key) if isinstance(value, Mapping) else None
    return list(inner) if isinstance(inner, list) and all(isinstance(one, Mapping) for one in inner) else []
