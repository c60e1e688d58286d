"""The section on answers: confusion matrix, figures by class, and pictures with what was said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from edgexfer.report import answers as judged
from edgexfer.report.calibration import calibration
from edgexfer.report.cells import Behind, Cell, Place, behind_cells, cells
from edgexfer.report.heatmap import draw_heatmap
from edgexfer.report.lineage import validation
from edgexfer.report.models import Naming
from edgexfer.report.pictures import SIDE, PictureReader, thumbnail
from edgexfer.report.records import FoundRun, Predictions
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import Value, percent, plain, shown
from edgexfer.runs import PREDICTIONS_FILE

MOST_TABLE_CLASSES = 24
MOST_PAIRS = 10
MOST_WRONG = 12
MOST_RIGHT = 10
MOST_PICTURED_RUNS = 8
MOST_RUNS_BEHIND = 4
"""Runs whose confusion matrix leads to pictures: the best students and what they stand against come first."""
SMALL = 112


@dataclass(frozen=True)
class Card:
    """One picture with what was said of it; ``image`` is ``None`` where the picture is not there any more."""

    image: str | None
    file: str
    truth: str
    answer: str
    right: bool
    confidence: Value
    doubt: Value


@dataclass(frozen=True)
class Answers:
    """What one run says of its pictures.

    Attributes:
        name: The run's name.
        anchor: The id of its confusion matrix.
        split: ``test`` or ``val``.
        images: How many pictures.
        top1: Share of right answers, counted from the predictions.
        wrong: Number of mistakes.
        classes: Names.
        cells: Rows of the confusion table; empty where there are too many classes.
        heatmap: The matrix as a picture, where there are too many classes for a table.
        behind: The pictures behind the cells.
        calibration: The reliability diagram.
        by_class: Recall and precision of each class.
        pairs: The most frequent confusions.
        mistakes: The most confident mistakes.
        right: Right answers, drawn by chance.
        skipped: Lines that could not be used.
    """

    name: str
    anchor: str
    split: str
    images: Value
    top1: Value
    wrong: int
    classes: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    heatmap: Figure | None
    behind: Sequence[Behind]
    calibration: Figure
    by_class: Table
    pairs: Table
    mistakes: Sequence[Card]
    right: Sequence[Card]
    skipped: int


def answers_of(runs: Sequence[FoundRun], naming: Naming, reader: PictureReader) -> list[Answers]:
    """One entry for each run with predictions: students first, the best on validation before the others, teachers last.

    Only the first ``MOST_PICTURED_RUNS`` carry pictures.
    """

    def place(run: FoundRun) -> tuple[bool, bool, float]:
        tag = naming.tags[run.label]
        return tag != "student", tag == "teacher", -validation(run)

    order = sorted(runs, key=place)
    told = [(run, run.predictions) for run in order if run.predictions is not None]
    return [
        _answers(number, run, predictions, naming, reader if number < MOST_PICTURED_RUNS else None)
        for number, (run, predictions) in enumerate(told)
    ]


def _answers(
    number: int, run: FoundRun, predictions: Predictions, naming: Naming, reader: PictureReader | None
) -> Answers:
    classes, name = run.run.classes, naming.names[run.label]
    matrix = judged.confusion(predictions, len(classes))
    found = judged.answers(predictions)
    fits = len(classes) <= MOST_TABLE_CLASSES
    wrong, right = judged.confident_mistakes(found, MOST_WRONG), judged.sample_right(found, MOST_RIGHT)
    origin = f"{run.label}/{PREDICTIONS_FILE}#/{predictions.split}"
    shot = partial(_card, run, origin=origin, reader=reader)
    pairs = judged.most_confused(matrix, MOST_PAIRS)
    shown_cells = found if fits else [a for a in found if (a.label, a.answer) in {pair[:2] for pair in pairs}]
    chosen = behind_cells(shown_cells) if reader and number < MOST_RUNS_BEHIND else {}
    anchors = {place: f"cell-{number}-{place[0]}-{place[1]}" for place in chosen}
    return Answers(
        name=name,
        anchor=f"matrix-{number}",
        split=predictions.split,
        images=Value(plain(len(predictions)), len(predictions), f"{origin} | count"),
        top1=shown(judged.top1(predictions), percent, f"{origin} | top1"),
        wrong=sum(not a.right for a in found),
        classes=classes,
        cells=cells(matrix, classes, origin, anchors) if fits else (),
        heatmap=None if fits else _heatmap(number, matrix, len(predictions)),
        behind=[_behind(anchors[place], place, some, matrix, classes, shot) for place, some in sorted(chosen.items())],
        calibration=calibration(number, name, predictions, origin),
        by_class=_by_class(matrix, classes, origin),
        pairs=_pairs(pairs, classes, origin, anchors),
        mistakes=[shot(answer) for answer in wrong] if reader else (),
        right=[shot(answer) for answer in right] if reader else (),
        skipped=predictions.skipped,
    )


def _behind(
    anchor: str,
    place: Place,
    some: Sequence[judged.Answer],
    matrix: judged.Matrix,
    classes: Sequence[str],
    shot: Callable[..., Card],
) -> Behind:
    truth, answer = (classes[i] for i in place)
    title = f"“{truth}” called “{answer}”" if place[0] != place[1] else f"“{truth}”, rightly named"
    return Behind(anchor, title, [shot(one, side=SMALL) for one in some], int(matrix[place]) - len(some))


def _heatmap(number: int, matrix: judged.Matrix, images: int) -> Figure:
    description = f"Confusion matrix of {len(matrix)} classes on {images} pictures; the table beside names the classes"
    return Figure(
        "Confusion matrix",
        "Rows are true classes, columns answers, in the order of the table below; mistakes are drawn stronger than"
        " their share, so that a single one can be seen.",
        draw_heatmap(f"confusion-{number}", matrix, description),
    )


def _by_class(matrix: judged.Matrix, classes: Sequence[str], origin: str) -> Table:
    rows = []
    for i, name in enumerate(classes):
        truths, given, right = int(matrix[i].sum()), int(matrix[:, i].sum()), int(matrix[i, i])
        rows.append(
            Row(
                name,
                (
                    Value(f"{truths:,}", truths, f"{origin} | images {i}"),
                    shown(right / truths if truths else None, percent, f"{origin} | recall {i}"),
                    shown(right / given if given else None, percent, f"{origin} | precision {i}"),
                ),
            )
        )
    return Table("Figures by class", ("class", "pictures", "found (recall)", "right when named (precision)"), rows)


def _pairs(
    pairs: Sequence[tuple[int, int, int]], classes: Sequence[str], origin: str, anchors: Mapping[Place, str]
) -> Table:
    rows = [
        Row(classes[t], (classes[a], _linked(Value(f"{n:,}", n, f"{origin} | confused {t} {a}"), anchors.get((t, a)))))
        for t, a, n in pairs
    ]
    return Table("Most frequent confusions", ("truth", "answer", "times"), rows, frozenset({1}))


def _linked(count: Value, anchor: str | None) -> Any:
    return Markup('<a href="#{}" title="show pictures">{}</a>').format(anchor, count) if anchor else count


def _card(run: FoundRun, answer: judged.Answer, *, origin: str, reader: PictureReader | None, side: int = SIDE) -> Card:
    classes = run.run.classes
    return Card(
        image=thumbnail(run.run, answer.file, reader, side) if reader else None,
        file=answer.file,
        truth=classes[answer.label],
        answer=classes[answer.answer],
        right=answer.right,
        confidence=shown(answer.confidence, percent, f"{origin} | probability {answer.index} {answer.answer}"),
        doubt=shown(answer.label_probability, percent, f"{origin} | probability {answer.index} {answer.label}"),
    )
