"""How the study of soft labels is drawn and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import percent
from edgexfer.studies.drawing import Band, Panel, draw_panels, draw_shares, mean_table
from edgexfer.studies.values import Numbers, StudyResult, Telling
from edgexfer.studies.words import claim_words, listed, percent_of, seeds_words

USUAL_ALPHA, USUAL_TEMPERATURE = 0.9, 5.0


def chosen(numbers: Numbers) -> Mapping[str, Any]:
    """The student at the usual temperature and weight, which were chosen before anything was measured."""
    usual = (USUAL_TEMPERATURE, USUAL_ALPHA)
    found: Mapping[str, Any] = next(s for s in numbers["students"] if (s["temperature"], s["alpha"]) == usual)
    return found


def tell(result: StudyResult) -> Telling:
    """The one picture, accuracy against temperature and weight, the kinds of labels, the absent class."""
    figures = [_picture(result)]
    series = (("temperature", ("alpha", USUAL_ALPHA)), ("alpha", ("temperature", USUAL_TEMPERATURE)))
    for key, fixed in series:
        figures += _against(result, key, fixed)
    figures += [_labels(result), _absent(result)]
    return Telling(figures, _seen(result), _LITERATURE, _DIFFERS, [_outputs(result)])


def _picture(result: StudyResult) -> Figure:
    picture = result.numbers[0]["picture"]
    return Figure(
        "One picture",
        f"Of the held-out pictures that the teacher of seed {result.measured[0].seed} is right about, the one that it"
        f" is least sure of. Its hard label is {picture['label']}; the table below shows what the teacher says of it.",
        Markup('<img class="one-picture" src="{}" alt="{}" width="132">').format(
            picture["image"], f"a picture of the class {picture['label']}"
        ),
    )


def _outputs(result: StudyResult) -> Table:
    """The hard label and the outputs at each temperature, most likely classes first."""
    picture = result.numbers[0]["picture"]
    rows = []
    for i, name in enumerate(picture["classes"]):
        hard = "1" if name == picture["label"] else "0"
        rows.append(Row(name, [hard, *(_share(values[i]) for values in _by_temperature(picture).values())]))
    heads = ("class", "hard label", *(f"T = {t}" for t in _by_temperature(picture)))
    return Table("The one picture: hard label, and the teacher's outputs by temperature", heads, rows)


def _by_temperature(picture: Mapping[str, Any]) -> dict[str, list[float]]:
    """The outputs, the lowest temperature first."""
    return {t: picture["outputs"][t] for t in sorted(picture["outputs"], key=float)}


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def students(numbers: Numbers, key: str, fixed: tuple[str, float]) -> dict[float, Mapping[str, Any]]:
    """The students of a series, by temperature or by weight."""
    name, value = fixed
    return {student[key]: student for student in numbers["students"] if student[name] == value}


def _against(result: StudyResult, key: str, fixed: tuple[str, float]) -> list[Figure]:
    """Student accuracy against temperature, or against the weight of the soft term; nothing for a single value."""
    series = [students(one, key, fixed) for one in result.numbers]
    values = sorted(series[0])
    if len(values) < 2:
        return []
    lines = {"softly taught": [[one[v]["test_top1"] for v in values] for one in series]}
    for kind, name in (("hard", "hard labels"), ("smoothed", "smoothed labels")):
        lines[name] = [[one[kind]["test_top1"]] * len(values) for one in result.numbers]
    bands = [Band(name, range(len(values)), rows, i, dotted=i == 0) for i, (name, rows) in enumerate(lines.items())]
    words = "temperature" if key == "temperature" else "weight of the soft term"
    title = f"Student's test accuracy against the {words}"
    other = f"weight {fixed[1]:g}" if key == "temperature" else f"temperature {fixed[1]:g}"
    panels, ticks = [Panel("test accuracy", bands, fraction=True)], [(i, f"{v:g}") for i, v in enumerate(values)]
    axis = "temperature T" if key == "temperature" else "weight of the soft term"
    wide, narrow = draw_panels(key, panels, x=axis, description=title, ticks=ticks)
    table = mean_table(title, words, [Band(b.name, values, b.values, b.colour) for b in bands], fraction=True)
    caption = f"At {other}. {seeds_words(result)}"
    return [Figure(title, caption, wide, narrow, table, [Key(name, i) for i, name in enumerate(lines)])]


def _labels(result: StudyResult) -> Figure:
    kinds: dict[str, Callable[[Numbers], float]] = {
        "teacher": lambda one: float(one["teacher"]["test_top1"]),
        "student, softened outputs": lambda one: float(chosen(one)["test_top1"]),
        "student, smoothed labels": lambda one: float(one["smoothed"]["test_top1"]),
        "student, hard labels": lambda one: float(one["hard"]["test_top1"]),
    }
    seen = [result.numbers[0][f"{who}_images"] for who in ("teacher", "student")]
    parameters = [result.numbers[0][kind]["parameters"] for kind in ("teacher", "hard")]
    return _bars(
        "labels",
        "Test accuracy by what was learned from",
        f"Means over the seeds. The teacher has {parameters[0]:,} parameters, the student {parameters[1]:,}. The"
        f" teacher saw {seen[0]:,} pictures, its students {seen[1]:,} of them. Softened: T = {USUAL_TEMPERATURE:g},"
        f" weight {USUAL_ALPHA:g}.",
        {name: [read(one) for one in result.numbers] for name, read in kinds.items()},
    )


def _absent(result: StudyResult) -> Figure:
    found = [one["absent"] for one in result.numbers]
    rows = {}
    for kind, name in (("soft", "soft outputs"), ("hard", "hard labels")):
        rows[f"{name}, as trained"] = [one[kind]["known"] for one in found]
        rows[f"{name}, bias corrected"] = [one[kind]["known_corrected"] for one in found]
    return _bars(
        "absent",
        "Share of the absent class that is recognised",
        f"Neither student saw a picture of the class ({listed([one['name'] for one in found])}, seed by seed), nor did"
        " validation choose its epoch by one. The bias is what, added to the class's logit, makes most validation"
        " pictures right, those of the absent class included.",
        rows,
    )


def _bars(name: str, title: str, caption: str, values: Mapping[str, Sequence[float]]) -> Figure:
    rows = [
        Bars(label, [100 * float(np.mean(shares))], [", ".join(percent(share) for share in shares)])
        for label, shares in values.items()
    ]
    wide, narrow = draw_shares(name, rows, description=title, axis="%")
    means = [Row(label, [percent_of(shares)]) for label, shares in values.items()]
    table = Table(title, ("", "mean and spread"), means)
    return Figure(title, caption, wide, narrow, table)


def _seen(result: StudyResult) -> str:
    gain, beyond, surer, seen, more = result.claims
    picture, numbers = result.numbers[0]["picture"], result.numbers
    first = {t: values[0] for t, values in picture["outputs"].items()}
    runner = {t: values[1] for t, values in picture["outputs"].items()}
    hottest = max(first, key=float)
    absent = [one["absent"]["soft"] for one in numbers]
    return (
        f"Of its one picture the teacher says {first['1']:.1%} {picture['classes'][0]} and {runner['1']:.1%}"
        f" {picture['classes'][1]} at T = 1, {first[hottest]:.1%} and {runner[hottest]:.1%} at T = {hottest}. Taught"
        f" softly (T = {USUAL_TEMPERATURE:g}, weight {USUAL_ALPHA:g}) the student was right for"
        f" {percent_of([chosen(one)['test_top1'] for one in numbers])} of the test pictures, on hard labels for"
        f" {percent_of([one['hard']['test_top1'] for one in numbers])}, {claim_words(gain)}, on smoothed labels for"
        f" {percent_of([one['smoothed']['test_top1'] for one in numbers])}, {claim_words(beyond)}; its loss was"
        f" {surer.measured} lower than on hard labels, {claim_words(surer)}. Without ever seeing a class it recognised"
        f" {percent_of([one['known'] for one in absent])} of it as trained and {seen.measured} with its bias corrected"
        f", {claim_words(seen)}; against the student on hard labels, corrected alike, that is {more.measured},"
        f" {claim_words(more)}."
    )


_LITERATURE = (
    "Hinton, Vinyals and Dean (2015) illustrate soft labels with cow, dog, cat, car: hard 0, 1, 0, 0; the geometric"
    " ensemble's 1e-6, .9, .1, 1e-9; softened .05, .3, .2, .005. On MNIST their student made 74 test errors taught"
    " softly and 146 on hard labels, where the teacher made 67. In speech, a student that saw 3% of the data had 44.5%"
    " of frames right on hard labels and 57.0% on soft ones, all of the data gave 58.9%. Without a single 3 in the"
    " transfer set the student of the digits made 206 errors, 133 of them on the 1,010 threes; with that class's bias"
    " raised by 3.5 it made 109, 14 of them on threes, so that 98.6% of the threes were known. A student on hard labels"
    " without threes, corrected alike, they do not report."
)
_DIFFERS = (
    "Teacher and student are six convolutions of different width, not dense networks of 1,200 and 800 units, and the"
    " teacher is not an ensemble. Its students see a seventh of its pictures, so that hard labels leave something to"
    " gain; all but those of one class, where a class is left out. All are trained by one learning rate, chosen"
    " beforehand and not tuned for any kind of label. The bias is chosen on validation, not on the test pictures as in"
    " the paper, and which class is left out goes with the seed."
)
