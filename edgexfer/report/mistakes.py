"""The section on answers: confusion matrix, figures by class, and pictures with what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgexfer.report import answers as judged
from edgexfer.report.heatmap import draw_heatmap
from edgexfer.report.models import Naming
from edgexfer.report.pictures import PictureReader, thumbnail
from edgexfer.report.records import FoundRun, Predictions
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import Value, percent, shown
from edgexfer.runs import PREDICTIONS_FILE

MOST_TABLE_CLASSES = 24
MOST_PAIRS = 10
MOST_WRONG = 12
MOST_RIGHT = 10
MOST_PICTURED_RUNS = 8


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion table: a count, its share of the row, and whether it is on the diagonal."""

    count: int
    share: float
    right: bool
    title: str


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
        label: Its folder.
        split: ``test`` or ``val``.
        images: How many pictures.
        top1: Share of right answers, counted from the predictions.
        wrong: Number of mistakes.
        classes: Names.
        cells: Rows of the confusion table; empty where there are too many classes.
        heatmap: The matrix as a picture, where there are too many classes for a table.
        by_class: Recall and precision of each class.
        pairs: The most frequent confusions.
        mistakes: The most confident mistakes.
        right: Right answers, drawn by chance.
        skipped: Lines that could not be used.
    """

    name: str
    label: str
    split: str
    images: int
    top1: Value
    wrong: int
    classes: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    heatmap: Figure | None
    by_class: Table
    pairs: Table
    mistakes: Sequence[Card]
    right: Sequence[Card]
    skipped: int


def answers_of(runs: Sequence[FoundRun], naming: Naming, reader: PictureReader) -> list[Answers]:
    """One entry for each run with predictions; only the first ``MOST_PICTURED_RUNS`` carry pictures."""
    order = sorted(runs, key=lambda run: (naming.tags[run.label] != "student", naming.tags[run.label] == "teacher"))
    told = [(run, run.predictions) for run in order if run.predictions is not None]
    return [
        _answers(number, run, predictions, naming, reader if number < MOST_PICTURED_RUNS else None)
        for number, (run, predictions) in enumerate(told)
    ]


def _answers(
    number: int, run: FoundRun, predictions: Predictions, naming: Naming, reader: PictureReader | None
) -> Answers:
    classes = run.run.classes
    matrix = judged.confusion(predictions, len(classes))
    found = judged.answers(predictions)
    fits = len(classes) <= MOST_TABLE_CLASSES
    wrong, right = judged.confident_mistakes(found, MOST_WRONG), judged.sample_right(found, MOST_RIGHT)
    origin = f"{run.label}/{PREDICTIONS_FILE}#/{predictions.split}"
    return Answers(
        name=naming.names[run.label],
        label=run.label,
        split=predictions.split,
        images=len(predictions),
        top1=shown(judged.top1(predictions), percent, f"{origin} | top1"),
        wrong=sum(not a.right for a in found),
        classes=classes,
        cells=_cells(matrix, classes) if fits else (),
        heatmap=None if fits else _heatmap(number, matrix, len(predictions)),
        by_class=_by_class(matrix, classes, origin),
        pairs=_pairs(matrix, classes, origin),
        mistakes=[_card(run, answer, reader, origin) for answer in wrong] if reader else (),
        right=[_card(run, answer, reader, origin) for answer in right] if reader else (),
        skipped=predictions.skipped,
    )


def _cells(matrix: judged.Matrix, classes: Sequence[str]) -> list[list[Cell]]:
    totals = np.maximum(matrix.sum(axis=1), 1)
    return [
        [
            Cell(
                int(count),
                round(float(count / totals[t]), 3),
                t == a,
                f"{count} of {totals[t]} pictures of “{classes[t]}” were called “{classes[a]}”",
            )
            for a, count in enumerate(row)
        ]
        for t, row in enumerate(matrix)
    ]


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


def _pairs(matrix: judged.Matrix, classes: Sequence[str], origin: str) -> Table:
    rows = [
        Row(classes[t], (classes[a], Value(f"{n:,}", n, f"{origin} | confused {t} {a}")))
        for t, a, n in judged.most_confused(matrix, MOST_PAIRS)
    ]
    return Table("Most frequent confusions", ("truth", "answer", "times"), rows, frozenset({1}))


def _card(run: FoundRun, answer: judged.Answer, reader: PictureReader, origin: str) -> Card:
    classes = run.run.classes
    return Card(
        image=thumbnail(run.run, answer.file, reader),
        file=answer.file,
        truth=classes[answer.label],
        answer=classes[answer.answer],
        right=answer.right,
        confidence=shown(answer.confidence, percent, f"{origin} | probability {answer.index} {answer.answer}"),
        doubt=shown(answer.label_probability, percent, f"{origin} | probability {answer.index} {answer.label}"),
    )
