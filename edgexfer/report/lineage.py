"""Who taught whom, and which measurement belongs to which run: joined by SHA-256, never by file name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgexfer.report.measured import Config, mapping, recommended
from edgexfer.report.records import Found, FoundArtifact, FoundRun
from edgexfer.report.values import is_number
from edgexfer.runs import BASELINE_FOLDER

UNKNOWN = -1.0


@dataclass(frozen=True)
class Family:
    """A student with what it is compared with.

    Attributes:
        student: The distilled run.
        teachers: Those of its teachers whose runs were found.
        baseline: The same network on hard labels alone, same data; ``None`` where there is none.
    """

    student: FoundRun
    teachers: tuple[FoundRun, ...]
    baseline: FoundRun | None


@dataclass(frozen=True)
class Lineage:
    """How the things found belong together.

    Attributes:
        families: One for each distilled run.
        others: Runs that belong to no family.
        configs: Every configuration of every result.
        parents: For each artifact's SHA-256 the run it came from.
    """

    families: tuple[Family, ...]
    others: tuple[FoundRun, ...]
    configs: tuple[Config, ...]
    parents: Mapping[str, FoundRun]

    @property
    def best(self) -> Family | None:
        """The family whose student is best on validation: what selects is never what is reported."""
        return max(self.families, key=lambda f: validation(f.student), default=None)

    @property
    def level(self) -> tuple[Family, ...]:
        """The best family and those whose student has the very same score; empty where no student has one."""
        scores = [validation(family.student) for family in self.families]
        return tuple(f for f, score in zip(self.families, scores, strict=True) if score == max(scores) > UNKNOWN)

    def configs_of(self, run: FoundRun) -> list[Config]:
        """The measurements of a run's artifacts."""
        return [config for config in self.configs if config.run is run]

    def artifacts_of(self, found: Found, run: FoundRun) -> list[FoundArtifact]:
        """The artifacts that were exported from a run."""
        return [artifact for artifact in found.artifacts if self.parents.get(artifact.sha256) is run]


def link(found: Found) -> Lineage:
    """Joins what was found."""
    students = [run for run in found.runs if is_student(run)]
    families = tuple(_family(student, found.runs) for student in students)
    taken = {id(run) for family in families for run in (family.student, *family.teachers, family.baseline)}
    parents = _parents(found)
    return Lineage(
        families=families,
        others=tuple(run for run in found.runs if id(run) not in taken),
        configs=_configs(found, parents),
        parents=parents,
    )


def is_student(run: FoundRun) -> bool:
    """Whether a run learnt from a teacher."""
    return run.command == "distill" or any(parent.get("role") == "teacher" for parent in run.run.parents)


def _family(student: FoundRun, runs: tuple[FoundRun, ...]) -> Family:
    wanted = {str(parent.get("sha256")) for parent in student.run.parents if parent.get("role") == "teacher"}
    teachers = tuple(run for run in runs if run.weights_sha256 in wanted)
    return Family(student, teachers, _baseline(student, runs))


def _baseline(student: FoundRun, runs: tuple[FoundRun, ...]) -> FoundRun | None:
    """The run that differs from the student only in having had no teacher; the nearest folder wins.

    Of a student that learned from further pictures without labels the one made beside it has as many steps, which are
    more epochs of fewer pictures; of any other run the epochs have to be equal.
    """
    alike = [
        run
        for run in runs
        if run.command == "baseline"
        and run.run.model == student.run.model
        and run.run.splits_fingerprint == student.run.splits_fingerprint
        and run.run.seed == student.run.seed
    ]
    own = [run for run in alike if run.folder == student.folder / BASELINE_FOLDER]
    as_long = [run for run in alike if _epochs(run) == _epochs(student)]
    inside = [run for run in as_long if student.folder in run.folder.parents]
    return next(iter(own or inside or as_long), None)


def _epochs(run: FoundRun) -> Any:
    return mapping(run.run.recipe, "settings").get("epochs")


def _parents(found: Found) -> dict[str, FoundRun]:
    by_weights = {run.weights_sha256: run for run in found.runs if run.weights_sha256}
    by_artifact = {artifact.sha256: artifact for artifact in found.artifacts}
    parents = {}
    for artifact in found.artifacts:
        parent = str((artifact.info or {}).get("parent_sha256"))
        if parent in by_artifact:  # an int8 file names the float32 file it was made from
            parent = str((by_artifact[parent].info or {}).get("parent_sha256"))
        if parent in by_weights:
            parents[artifact.sha256] = by_weights[parent]
    return parents


def _configs(found: Found, parents: Mapping[str, FoundRun]) -> tuple[Config, ...]:
    artifacts = {artifact.sha256: artifact for artifact in found.artifacts}
    by_weights = {run.weights_sha256: run for run in found.runs if run.weights_sha256}
    configs = []
    for result in found.results:
        for index, value in enumerate(result.value["configs"]):
            sha256, parent = str(value.get("sha256")), str(value.get("parent_sha256"))
            run = parents.get(sha256) or parents.get(parent) or by_weights.get(parent)
            best = recommended(value, result.machine, found.recommendations)
            configs.append(Config(result, index, value, artifacts.get(sha256), run, best))
    return tuple(configs)


def validation(run: FoundRun) -> float:
    """A run's accuracy on validation; ``UNKNOWN``, which is below every accuracy, where it was not recorded."""
    value = run.run.scores.get("val_top1")
    return float(value) if is_number(value) else UNKNOWN
