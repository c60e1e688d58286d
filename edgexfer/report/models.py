"""Teacher against students: the table, and what each network is called and coloured throughout the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexfer.report.lineage import Lineage, is_student
from edgexfer.report.machines import by_machine, machine_names
from edgexfer.report.measured import Config
from edgexfer.report.records import Found, FoundArtifact, FoundRun
from edgexfer.report.tables import Row, Table
from edgexfer.report.values import MISSING, Value, amount, duration, percent, shown, times
from edgexfer.results.statistics import percentile
from edgexfer.words import people_size

HEADS = ("network", "validation", "test", "calibration error", "parameters", "teacher ÷ this", "operations", "size")
MOST_MACHINES = 4
Measured = Sequence[tuple[str, list[Config]]]


@dataclass(frozen=True)
class Naming:
    """How each run is called and coloured, the same in every figure.

    Attributes:
        names: By the run's label.
        tags: ``teacher``, ``student``, ``hard labels`` or nothing.
        colours: Positions in the page's colours.
    """

    names: Mapping[str, str]
    tags: Mapping[str, str]
    colours: Mapping[str, int]


def name_runs(found: Found, lineage: Lineage) -> Naming:
    """Names a run by its network; by network and folder where two share one."""
    tags = {}
    for run in found.runs:
        if is_student(run):
            tags[run.label] = "student"
        elif run.command == "baseline":
            tags[run.label] = "hard labels"
        elif any(run is t for family in lineage.families for t in family.teachers):
            tags[run.label] = "teacher"
        else:
            tags[run.label] = ""
    full = {run.label: " ".join(filter(None, (network_name(run.run.model), tags[run.label]))) for run in found.runs}
    shared = {name for name in full.values() if list(full.values()).count(name) > 1}
    names = {label: f"{name} ({label})" if name in shared else name for label, name in full.items()}
    return Naming(names, tags, _colours(found, tags))


def _colours(found: Found, tags: Mapping[str, str]) -> dict[str, int]:
    """The first student, teacher and baseline get the same colours on every page."""
    preferred = {"student": 0, "teacher": 1, "hard labels": 2}
    colours: dict[str, int] = {}
    for run in found.runs:
        wish = preferred.get(tags[run.label])
        if wish is not None and wish not in colours.values():
            colours[run.label] = wish
    following = 3
    for run in found.runs:
        if run.label not in colours:
            colours[run.label] = following
            following += 1
    return colours


def network_name(model: str) -> str:
    """A registered name as it is, a user's own file by its file name."""
    return model.replace("\\", "/").rsplit("/", 1)[-1]


def models_table(found: Found, lineage: Lineage, naming: Naming) -> Table:
    """Every run, each family together: teachers, student, baseline; below each run the files made of it."""
    measured = _measured(lineage)
    rows: dict[str, list[Row]] = {}

    def add(run: FoundRun, told: Any = None, pointer: str = "") -> None:
        if run.label not in rows:
            row = _run_row(run, measured, naming, told, pointer)
            rows[run.label] = [row, *(_file_row(a, run, measured) for a in lineage.artifacts_of(found, run))]

    for family in lineage.families:
        told = family.student.run.scores.get("teacher")
        pointer = family.student.origin("/scores/teacher")
        for teacher in family.teachers:
            add(teacher)
        is_ensemble = sum(parent.get("role") == "teacher" for parent in family.student.run.parents) > 1
        if isinstance(told, Mapping) and (is_ensemble or not family.teachers):
            row = _told_row(told, pointer, len(measured), ensemble=is_ensemble)
            rows.setdefault(f"{told.get('name')}|{told.get('parameters')}|{told.get('val_top1')}", [row])
        for run in filter(None, (family.student, family.baseline)):
            add(run, told, pointer)
    for run in lineage.others:
        add(run)
    heads = (*HEADS, *(f"latency, {name}" for name, _ in measured))
    return Table("Accuracy, size and speed of every network", heads, [row for some in rows.values() for row in some])


def _measured(lineage: Lineage) -> Measured:
    """The real machines that timed a run's files, with what they measured one picture at a time."""
    groups = by_machine([c for c in lineage.configs if c.is_latency])
    named = zip(machine_names(groups), groups, strict=True)
    return [(name, group) for name, group in named if any(config.run for config in group)][:MOST_MACHINES]


def _run_row(run: FoundRun, measured: Measured, naming: Naming, teacher: Any, pointer: str) -> Row:
    scores = run.run.scores
    ece = "test_ece" if scores.get("test_ece") is not None else "val_ece"
    return Row(
        name=network_name(run.run.model),
        tag=naming.tags[run.label],
        note=run.label,
        colour=naming.colours[run.label],
        cells=(
            shown(scores.get("val_top1"), percent, run.origin("/scores/val_top1")),
            shown(scores.get("test_top1"), percent, run.origin("/scores/test_top1")),
            shown(scores.get(ece), percent, run.origin(f"/scores/{ece}")),
            shown(scores.get("parameters"), amount, run.origin("/scores/parameters")),
            parameter_ratio(run, teacher, pointer) or MISSING,
            shown(scores.get("operations"), amount, run.origin("/scores/operations")),
            shown(scores.get("weights_bytes"), people_size, run.origin("/scores/weights_bytes")),
            *(_latency([c for c in group if c.run is run]) for _, group in measured),
        ),
    )


def _file_row(artifact: FoundArtifact, run: FoundRun, measured: Measured) -> Row:
    """An ONNX file of a run; an int8 one has an accuracy of its own, on pictures held out from its making."""
    top1 = shown(artifact.int8_proof.get("top1"), percent, f"{artifact.proof_label}#/int8/top1")
    on_test = run.run.scores.get("test_top1") is not None
    mine = [[c for c in group if c.value.get("sha256") == artifact.sha256] for _, group in measured]
    return Row(
        name=f"as ONNX, {artifact.precision}",
        note=artifact.label,
        is_part=True,
        cells=(
            MISSING if on_test else top1,
            top1 if on_test else MISSING,
            *[MISSING] * 4,
            Value(people_size(artifact.size_bytes), artifact.size_bytes, f"{artifact.label} | bytes"),
            *map(_latency, mine),
        ),
    )


def _latency(configs: list[Config]) -> Any:
    fastest = fastest_config(configs)
    return median(fastest) if fastest else MISSING


def _told_row(told: Mapping[str, Any], pointer: str, machines: int, *, ensemble: bool) -> Row:
    """A teacher whose run is not at hand, or an ensemble, as the student's run tells of it."""
    return Row(
        name=str(told.get("name", "teacher")),
        tag="ensemble" if ensemble else "teacher",
        note="as the student's run tells",
        cells=(
            shown(told.get("val_top1"), percent, f"{pointer}/val_top1"),
            shown(told.get("test_top1"), percent, f"{pointer}/test_top1"),
            shown(told.get("test_ece"), percent, f"{pointer}/test_ece"),
            shown(told.get("parameters"), amount, f"{pointer}/parameters"),
            MISSING,
            shown(told.get("operations"), amount, f"{pointer}/operations"),
            shown(told.get("weights_bytes"), people_size, f"{pointer}/weights_bytes"),
            *[MISSING] * machines,
        ),
    )


def parameter_ratio(run: FoundRun, teacher: Any, pointer: str) -> Value | None:
    """Parameters of the teacher over those of ``run``."""
    mine = run.run.scores.get("parameters")
    its = teacher.get("parameters") if isinstance(teacher, Mapping) else None
    if not (isinstance(mine, int) and isinstance(its, int) and mine > 0):
        return None
    return shown(its / mine, times, f"{pointer}/parameters ÷ {run.origin('/scores/parameters')}")


def on_device(configs: list[Config]) -> list[Config]:
    """Those measured on the first machine that timed any: the board, where there is one."""
    return next(iter(by_machine([c for c in configs if c.is_latency])), [])


def fastest_config(configs: list[Config]) -> Config | None:
    """The configuration with the lowest median of one picture among those whose times may be shown."""
    timed = [config for config in configs if config.is_latency]
    return min(timed, key=lambda config: percentile(config.latency_s, 50) or 0.0, default=None)


def median(config: Config) -> Value:
    """The median latency of a configuration."""
    return shown(percentile(config.latency_s, 50), duration, config.origin("latency_s | p50"))
