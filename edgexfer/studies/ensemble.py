"""``ensemble``: several networks of one structure, and of different ones, as one voice; and the student taught by it.

Hinton, Vinyals and Dean 2015, section 4: an ensemble of ten acoustic models, and the single model that is
distilled from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgexfer.distill import Teachers, check_teachers, from_run
from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import amount, percent
from edgexfer.studies.drawing import draw_shares
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import at_most, held_split
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import (
    VIEWS,
    counting,
    hard_run,
    kept,
    quiet_job,
    scores_of_run,
    soft_run,
    study_recipe,
)
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, percent_of
from edgexfer.training import Job, Silent

STUDENT = "conv_narrow"
STRUCTURES = (STUDENT, "conv_shallow", "conv_long")
MEMBERS = 3
PER_CLASS, MOST_HELD = 30, 1_000
TEMPERATURE, ALPHA = 5.0, 0.9
MEANS = ("arithmetic", "geometric")
SAME, DIFFERENT = GROUPS = ("same structure", "different structures")


def measure(lab: Lab) -> dict[str, Any]:
    """Members, both ensembles with both means, and the student of each."""
    side, classes = picture_side(lab), len(lab.splits.classes)
    splits = at_most(lab.splits, (10 if lab.fast else PER_CLASS) * classes, 150 if lab.fast else MOST_HELD, lab.seed)
    job = quiet_job(splits, STUDENT, study_recipe(lab, len(splits.train), side))
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, views=VIEWS))
    wanted = {f"{STUDENT}-{i}": (STUDENT, MEMBERS * lab.seed + i) for i in range(MEMBERS)}
    wanted |= {f"{name}-0": (name, MEMBERS * lab.seed) for name in STRUCTURES}
    members: dict[str, Any] = {}
    with counting(lab, len(wanted) + 2) as progress:
        for name, (network, seed) in wanted.items():
            run = kept(lab.work / name, lambda out, n=network, s=seed: hard_run(_member(job, n, s), out))  # type: ignore[misc]
            members[name] = {**scores_of_run(run), "operations": run.scores["operations"]}
            progress.step(f"{name}: {run.scores['val_top1']:.1%}")
        groups = {
            SAME: [f"{STUDENT}-{i}" for i in range(MEMBERS)],
            DIFFERENT: [f"{name}-0" for name in STRUCTURES],
        }
        ensembles = {}
        for number, (group, names) in enumerate(groups.items()):
            found = _voices(job, [lab.work / name for name in names])
            out = lab.work / f"student-{number}"
            teachers = _teachers(job, [lab.work / name for name in names], "geometric")
            student = kept(out, lambda out, t=teachers: soft_run(job, t, TEMPERATURE, ALPHA, out))  # type: ignore[misc]
            progress.step(f"student of {group}: {student.scores['val_top1']:.1%}")
            operations = sum(members[name]["operations"] for name in names)
            ensembles[group] = {
                "members": names, **found, "operations": operations, "student": scores_of_run(student)
            }  # fmt: skip
    return {"train_images": len(splits.train), "members": members, "ensembles": ensembles}


def _member(job: Job, network: str, seed: int) -> Job:
    """The training of a member: its own structure, first weights and order of pictures."""
    return dataclasses.replace(job, model=path_of(network), settings=dataclasses.replace(job.settings, seed=seed))


def _teachers(job: Job, runs: Sequence[Path], mean: str) -> Teachers:
    return Teachers(tuple(from_run(run, job.splits.classes) for run in runs), mean)


def _voices(job: Job, runs: Sequence[Path]) -> dict[str, float]:
    """Test accuracy of the ensemble by each mean of its members' outputs."""
    split = held_split(job.splits)
    return {
        mean: check_teachers(_teachers(job, runs, mean), job, Silent(), allow_weak=True).scores[split].top1
        for mean in MEANS
    }


def mean_member(numbers: Numbers, group: str) -> float:
    """Mean test accuracy of a group's members."""
    names = numbers["ensembles"][group]["members"]
    return sum(float(numbers["members"][name]["test_top1"]) for name in names) / len(names)


def _voice(numbers: Numbers, group: str) -> float:
    return float(numbers["ensembles"][group]["geometric"])


def _alone(numbers: Numbers) -> float:
    """The student's structure without a teacher, mean over its members."""
    return mean_member(numbers, SAME)


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """An ensemble gains, difference gains more, the kind of mean hardly matters, a student keeps some of it."""
    gain = "Test accuracy of the ensemble (geometric mean) less the mean of its members"
    apart = tuple(
        max(abs(one["ensembles"][g]["arithmetic"] - one["ensembles"][g]["geometric"]) for g in GROUPS)
        for one in numbers
    )
    student = tuple(one["ensembles"][SAME]["student"]["test_top1"] - _alone(one) for one in numbers)
    return [
        Claim("Networks of one structure, from other first weights, are better together.", gain,
              tuple(_voice(one, SAME) - mean_member(one, SAME) for one in numbers), "points", 0.005),
        Claim("Networks of different structures are better together.", gain,
              tuple(_voice(one, DIFFERENT) - mean_member(one, DIFFERENT) for one in numbers), "points", 0.005),
        Claim("Arithmetic and geometric mean do about equally well.",
              "Difference in test accuracy between the two, without its sign, the larger of both ensembles", apart,
              "points", 0.01, at_most=True),
        Claim("One student of the ensemble is better than the same network alone.",
              f"Test accuracy of the student taught by the {SAME} less the mean of the members", student, "points",
              0.005),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy beside cost."""
    return Telling([_bars(result)], _seen(result), _LITERATURE, _DIFFERS, [_table(result)])


def _series(result: StudyResult) -> dict[str, tuple[list[float], int]]:
    """By name: test accuracy seed by seed, and the operations of one inference."""
    first = result.numbers[0]
    found: dict[str, tuple[list[float], int]] = {}
    for group in GROUPS:
        ensemble = first["ensembles"][group]
        names = ensemble["members"]
        cost = ensemble["operations"] // len(names)
        found[f"{group}: one member, mean"] = ([mean_member(one, group) for one in result.numbers], cost)
        for mean in MEANS:
            shares = [float(one["ensembles"][group][mean]) for one in result.numbers]
            found[f"{group}: {len(names)} together, {mean}"] = (shares, ensemble["operations"])
        taught = [float(one["ensembles"][group]["student"]["test_top1"]) for one in result.numbers]
        found[f"{group}: their student"] = (taught, first["members"][f"{STUDENT}-0"]["operations"])
    return found


def _bars(result: StudyResult) -> Figure:
    title = "Test accuracy of members, ensembles and students"
    series = _series(result)
    rows = [
        Bars(name, [100 * sum(shares) / len(shares)], [f"{', '.join(map(percent, shares))}; {amount(cost)} operations"])
        for name, (shares, cost) in series.items()
    ]
    wide, narrow = draw_shares("bars", rows, description=title)
    caption = (
        f"Means over the seeds; {result.numbers[0]['train_images']:,} training pictures. The student is of the"
        f" structure of the first group's members, and is taught at T = {TEMPERATURE:g} by the geometric mean."
    )
    return Figure(title, caption, wide, narrow)


def _table(result: StudyResult) -> Table:
    rows = [Row(name, [percent_of(shares), amount(cost)]) for name, (shares, cost) in _series(result).items()]
    return Table("Accuracy, and what one inference costs", ("", "test accuracy", "operations"), rows)


def kept_share(numbers: Sequence[Mapping[str, Any]]) -> float | None:
    """Which share of the ensemble's gain over a member its student keeps, on average; ``None`` without a gain."""
    gain = sum(_voice(one, SAME) - _alone(one) for one in numbers)
    student = sum(one["ensembles"][SAME]["student"]["test_top1"] - _alone(one) for one in numbers)
    return student / gain if gain > 0 else None


def _seen(result: StudyResult) -> str:
    same, different, apart, student = result.claims
    share = kept_share(result.numbers)
    shared = "" if share is None or share <= 0 else f", {share:.0%} of what the ensemble gained"
    return (
        f"A member of one structure was right for {percent_of([_alone(one) for one in result.numbers])} of the test"
        f" pictures on average, the {MEMBERS} together gained {same.amount}, {claim_words(same)}, at {MEMBERS} times"
        f" the cost. Three different structures together gained {different.amount} over their mean"
        f", {claim_words(different)}. The two means differed by {apart.measured}, {claim_words(apart)}. A student of"
        f" the ensemble, at the cost of one member, gained {student.amount} over the same network alone{shared}"
        f", {claim_words(student)}."
    )


_LITERATURE = (
    "Hinton, Vinyals and Dean (2015, table 1): in speech a single model had 58.9% of frames right, ten of them together"
    " 61.1% and the single model distilled from these 60.8%: more than 80% of the gain at a tenth of the cost. They"
    " allow either mean of the members' outputs; the geometric one is the mean of logits."
)
_DIFFERS = (
    "Here the ensemble has three members, the task is pictures, and there are 30 training pictures a class, so that"
    " there is something left to gain. The members see the same views of each picture and differ in first weights and"
    " order (or in structure). The student's temperature and weight were set beforehand."
)

STUDY = Study(measure, judge, tell)
