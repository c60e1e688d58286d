"""The page's first words: three sentences and a few large numbers, no rounder than the files allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgexfer.report.answers import accuracy_gap
from edgexfer.report.lineage import Family, Lineage, validation
from edgexfer.report.machines import by_machine, machine_name, machine_names
from edgexfer.report.measured import Config
from edgexfer.report.models import fastest_config, median, network_name, on_device, parameter_ratio
from edgexfer.report.records import Found, FoundArtifact, FoundRun
from edgexfer.report.tables import Tile
from edgexfer.report.values import Value, amount, is_number, percent, points, shown
from edgexfer.words import counted, people_size

MOST_MACHINES = 3
SPLITS = {"test": "test", "val": "validation"}


@dataclass(frozen=True)
class Subject:
    """The run that the summary is about, with all that belongs to it; ``run`` is ``None`` where there is no run."""

    run: FoundRun | None
    family: Family | None
    artifacts: tuple[FoundArtifact, ...]
    configs: tuple[Config, ...]

    @property
    def teacher(self) -> tuple[Mapping[str, Any], str]:
        """The teacher's scores as the student's run tells them, and where; empty without a teacher."""
        told = self.run.run.scores.get("teacher") if self.run and self.family else None
        return (told, self.run.origin("/scores/teacher")) if isinstance(told, Mapping) and self.run else ({}, "")

    @property
    def split(self) -> str:
        """``test``, or ``val`` where there is no test."""
        scores = self.run.run.scores if self.run else {}
        return "test" if scores.get("test_top1") is not None else "val"


def subject(found: Found, lineage: Lineage) -> Subject:
    """The best student by validation, else the best run by validation, else what was measured alone."""
    family = lineage.best
    alone = max(found.runs, key=validation, default=None)
    run = family.student if family else alone
    if run is None:
        return Subject(None, None, found.artifacts, lineage.configs)
    return Subject(run, family, tuple(lineage.artifacts_of(found, run)), tuple(lineage.configs_of(run)))


def headline(about: Subject) -> str:
    """The page's heading, where the user gives none."""
    if about.run is None:
        files = {artifact.label.rsplit("/", 1)[-1] for artifact in about.artifacts}
        names = sorted(files | {config.name for config in about.configs})
        return names[0] if len(names) == 1 else f"{len(names)} models, measured"
    student = network_name(about.run.run.model)
    teacher = about.teacher[0].get("name")
    return f"{student}, taught by {teacher}" if teacher else f"{student} on {_data_name(about.run)}"


def sentences(about: Subject, found: Found, lineage: Lineage) -> list[Markup]:
    """What was made; how good it is; how fast and small it is."""
    if about.run is None:
        return [_counts_sentence(found, lineage), _speed_sentence(about)]
    return [_made_sentence(about, lineage), _good_sentence(about), _speed_sentence(about)]


def _made_sentence(about: Subject, lineage: Lineage) -> Markup:
    run = about.run
    if run is None:
        return Markup("")
    teacher = about.teacher[0].get("name")
    text = Markup("<b>{}</b>").format(network_name(run.run.model))
    text += Markup(" was distilled from <b>{}</b>").format(teacher) if teacher else Markup(" was trained")
    text += Markup(" on {} ({} classes)").format(_data_name(run), len(run.run.classes))
    if about.artifacts:
        kinds = sorted({str((a.info or {}).get("precision", "ONNX")) for a in about.artifacts})
        text += Markup(" and exported to ONNX as {}").format(" and ".join(kinds))
    return text + _standing(lineage) + Markup(".")


def _standing(lineage: Lineage) -> Markup:
    """How the best student stands to the others; where several are level, it is only the first of them."""
    students = len(lineage.families)
    if students < 2:
        return Markup("")
    if not lineage.level:
        return Markup("; it is one of {} students, none of which tells how it did on validation").format(students)
    if len(lineage.level) > 1:
        return Markup("; of {} students none is better on validation").format(students)
    return Markup("; of {} students it is the best on validation").format(students)


def _good_sentence(about: Subject) -> Markup:
    run = about.run
    if run is None:
        return Markup("")
    split, scores = about.split, run.run.scores
    key = f"{split}_top1"
    images = scores.get(f"{split}_images")
    count = f"{images:,} " if isinstance(images, int) else ""
    top1 = shown(scores.get(key), percent, run.origin(f"/scores/{key}"))
    if top1.exact is None:
        return Markup("Its accuracy was not recorded.")
    text = Markup("It names <b>{}</b> of the {}{} pictures rightly").format(top1, count, SPLITS[split])
    told, pointer = about.teacher
    if is_number(told.get(key)):
        gap = shown(scores[key] - told[key], _gap_words, f"{run.origin(f'/scores/{key}')} − {pointer}/{key}")
        text += Markup(", {} its teacher ({})").format(gap, shown(told[key], percent, f"{pointer}/{key}"))
    text += _baseline_clause(about, key)
    text += Markup("") if split == "test" else Markup("; there is no test split, and validation also chose the epoch")
    return text + Markup(".")


def _baseline_clause(about: Subject, key: str) -> Markup:
    """Against the same student on hard labels, and whether chance alone could do that."""
    family, run = about.family, about.run
    baseline = family.baseline if family else None
    if run is None or baseline is None or not is_number(baseline.run.scores.get(key)):
        return Markup("")
    pointer = f"/scores/{key}"
    gain = run.run.scores[key] - baseline.run.scores[key]
    gap = shown(gain, _gap_words, f"{run.origin(pointer)} − {baseline.origin(pointer)}")
    text = Markup(" and {} the same network trained on hard labels alone ({}").format(
        gap, shown(baseline.run.scores[key], percent, baseline.origin(pointer))
    )
    return text + (", " + chance if (chance := _chance(run, baseline)) else "") + Markup(")")


def _chance(run: FoundRun, baseline: FoundRun) -> str:
    if run.predictions is None or baseline.predictions is None:
        return ""
    found = accuracy_gap(run.predictions, baseline.predictions)
    if found is None or found.value == 0 or found.shown:
        return ""
    return "a difference that so few pictures cannot tell from chance"


def _speed_sentence(about: Subject) -> Markup:
    text = _size_clause(about)
    groups = by_machine([config for config in about.configs if config.is_latency])
    if not groups:
        return text + _unmeasured(about)
    named = list(zip(groups, machine_names(groups), strict=True))[:MOST_MACHINES]
    clauses = [_machine_clause(group, name) for group, name in named]
    text += Markup(" its fastest file answers in ") + Markup(" and in ").join(clauses)
    proven = all(config.value.get("verified") for config in filter(None, map(fastest_config, groups)))
    text += Markup(", after its answers were proven right there") if proven else Markup(", its answers unproven")
    return text + Markup("").join(_slower_int8(group, name) for group, name in named) + Markup(".")


def _machine_clause(configs: list[Config], name: str) -> Markup:
    fastest = fastest_config(configs)
    if fastest is None:
        return Markup("")
    details = ", ".join(filter(None, (fastest.precision, _threads(fastest))))
    return Markup("<b>{}</b> on {} ({})").format(median(fastest), name, details or fastest.name)


def _threads(config: Config) -> str:
    return "" if config.threads is None else counted(config.threads, "thread")


def _size_clause(about: Subject) -> Markup:
    if about.run is None:
        return Markup("Of what was measured,")
    parameters = shown(about.run.run.scores.get("parameters"), amount, about.run.origin("/scores/parameters"))
    ratio = parameter_ratio(about.run, *about.teacher)
    if parameters.exact is None:
        return Markup("As to speed,")
    if ratio is None or ratio.exact is None:
        return Markup("It has {} parameters;").format(parameters)
    if ratio.exact < 1:
        return Markup("It has {} parameters, more than its teacher;").format(parameters)
    return Markup("It has {} parameters, <b>{}</b> fewer than its teacher;").format(parameters, ratio)


def _unmeasured(about: Subject) -> Markup:
    """Why there is no latency: what went wrong comes first, on a real machine before an emulated one."""
    failed = [config for config in about.configs if config.refusal not in (None, "not timed", "emulated")]
    if failed:
        worst = min(failed, key=lambda config: config.result.emulated)
        return Markup(" no latency can be given: {} ended with “{}”.").format(worst.title, worst.refusal)
    if any(config.refusal == "emulated" for config in about.configs):
        right = all(config.value.get("verified") for config in about.configs)
        state = "gave the right answers" if right else "was run"
        return Markup(" it {} on an emulated processor, which says nothing of its speed.").format(state)
    return Markup(" its speed has not been measured yet (<code>edgexfer bench</code>).")


def _slower_int8(configs: list[Config], name: str) -> Markup:
    """Says it plainly when int8 buys no speed on a machine: the fastest of each, where both were asked in one way."""
    fastest = fastest_config(configs)
    kin = [config for config in configs if fastest is not None and config.is_akin(fastest)]
    int8, float32 = ([config for config in kin if config.precision == kind] for kind in ("int8", "float32"))
    mine = fastest_config([config for config in int8 if any(config.way == other.way for other in float32)])
    its = fastest_config([config for config in float32 if any(config.way == other.way for other in int8)])
    if mine is None or its is None:
        return Markup("")
    slow, fast = median(mine), median(its)
    if slow.exact is None or fast.exact is None or slow.exact < fast.exact:
        return Markup("")
    return Markup("; on {} int8 is no faster than float32 ({} against {})").format(name, slow, fast)


def _counts_sentence(found: Found, lineage: Lineage) -> Markup:
    return Markup("This page shows {} and {} of {}.").format(
        counted(len(found.artifacts), "ONNX file"),
        counted(len(found.results), "benchmark result"),
        counted(len(lineage.configs), "configuration"),
    )


def tiles(about: Subject) -> list[Tile]:
    """A few large numbers with what they mean."""
    found = [*_run_tiles(about)]
    fastest = fastest_config(on_device(list(about.configs)))
    if fastest is not None:
        note = ", ".join(filter(None, (fastest.precision, machine_name(fastest.result))))
        found.append(Tile("median latency", median(fastest), note))
    smallest = min(about.artifacts, key=lambda a: a.size_bytes, default=None)
    if smallest is not None:
        value = Value(people_size(smallest.size_bytes), smallest.size_bytes, f"{smallest.label} | bytes")
        found.append(Tile("smallest file", value, f"ONNX, {(smallest.info or {}).get('precision', 'foreign')}"))
    return found


def _run_tiles(about: Subject) -> Iterator[Tile]:
    run, key = about.run, f"{about.split}_top1"
    if run is None:
        return
    told, pointer = about.teacher
    top1 = shown(run.run.scores.get(key), percent, run.origin(f"/scores/{key}"))
    its = shown(told.get(key), percent, f"{pointer}/{key}")
    if top1.exact is not None:
        note = Markup("teacher {}").format(its) if its.exact is not None else f"{len(run.run.classes)} classes"
        yield Tile(f"{SPLITS[about.split]} accuracy", top1, note)
    ratio = parameter_ratio(run, *about.teacher)
    parameters = shown(run.run.scores.get("parameters"), amount, run.origin("/scores/parameters"))
    if ratio is not None and ratio.exact is not None and ratio.exact >= 1:
        its = shown(told.get("parameters"), amount, f"{pointer}/parameters")
        yield Tile("fewer parameters", ratio, Markup("{} instead of {}").format(parameters, its))
    elif parameters.exact is not None:
        yield Tile("parameters", parameters, "")


def _gap_words(difference: float) -> str:
    text = points(difference)
    if text == "0.0":
        return "level with"
    return f"{text[1:]} points {'below' if difference < 0 else 'above'}"


def _data_name(run: FoundRun) -> str:
    data = str(run.run.recipe.get("data") or "its data")
    return data.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or data
