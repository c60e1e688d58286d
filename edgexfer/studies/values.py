"""What a study comes to: raw numbers by seed, and claims that are held against them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import FormatError
from edgexfer.files import FORMAT, read_json
from edgexfer.report.tables import Figure, Table
from edgexfer.report.values import points, small
from edgexfer.training import Listener
from edgexfer.version import __version__
from edgexfer.words import significant
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

Numbers = Mapping[str, Any]
"""What one seed measured, as JSON holds it."""
APPEARED, ABSENT, REVERSED = "appeared", "did not appear", "the opposite appeared"
UNITS = ("points", "times", "share", "number")


@dataclass(frozen=True)
class Claim:
    """An effect that the literature leads one to expect, held against what was measured.

    Attributes:
        expected: The effect, in one sentence.
        quantity: What was measured, in words.
        values: It, one value a seed.
        unit: One of ``UNITS``: a difference of two shares (shown in percentage points), a ratio, a share (shown in
            percent) or a plain number.
        threshold: The mean has to reach it (stay below it, where ``at_most``).
        neutral: The value that means "no effect": 0, or 1 for a ratio.
        at_most: Whether small values are what is expected.
    """

    expected: str
    quantity: str
    values: tuple[float, ...]
    unit: str
    threshold: float
    neutral: float = 0.0
    at_most: bool = False

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; ``None`` for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def verdict(self) -> str:
        """``APPEARED``: the mean reaches the threshold and every seed lies on that side of "no effect".

        ``REVERSED``: the same with the sign turned; ``ABSENT``: neither.
        """
        if self.at_most:
            return APPEARED if max(self.values) <= self.threshold else ABSENT
        above = [value > self.neutral for value in self.values]
        if self.mean >= self.threshold and all(above):
            return APPEARED
        below = [value < self.neutral for value in self.values]
        margin = self.neutral / self.threshold if self.neutral else -self.threshold
        return REVERSED if self.mean <= margin and all(below) else ABSENT

    def to_dict(self) -> dict[str, Any]:
        """As ``study.json`` holds it."""
        derived = {"mean": self.mean, "spread": self.spread, "verdict": self.verdict}
        return {**asdict(self), "values": list(self.values), **derived}

    def write(self, value: float, *, sign: bool = True) -> str:
        """A value in the claim's unit, for a person; differences with their sign unless it is off."""
        if self.unit == "points":
            text = points(value) if value else "0"
            return f"{text if sign and not self.at_most else text.removeprefix('+')} points"
        if self.unit == "share":
            return f"{value:.1%}"
        number = significant if abs(value) >= 0.001 or not value else small
        text = number(value) if self.unit == "number" else f"{value:.2g}" if value < 100 else f"{value:,.0f}"
        return f"{text} times" if self.unit == "times" else text

    @property
    def amount(self) -> str:
        """As ``measured``, a gain without its plus sign: for sentences that say themselves what it is."""
        return self.measured.removeprefix("+")

    @property
    def measured(self) -> str:
        """Mean and spread, for a person."""
        if self.spread is None:
            return self.write(self.mean)
        spread = self.write(self.spread, sign=False).removesuffix(" times").removesuffix(" points").removesuffix("%")
        return f"{self.write(self.mean)} (spread {spread})"


@dataclass(frozen=True)
class Measured:
    """What one seed gave.

    Attributes:
        seed: Of the draw of the pictures, first weights and order.
        numbers: What was measured.
        seconds: How long it took.
        data: The pictures it saw: ``{"train": n, "val": n, "test": n}`` and their fingerprint.
    """

    seed: int
    numbers: Numbers
    seconds: float
    data: Mapping[str, Any]


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        name: Its name.
        title: Its heading.
        source: The data, as the user named it.
        classes: Class names.
        measured: One entry a seed.
        claims: What was expected, and whether it appeared.
        fast: Whether this is the short form, which shows less than the study can.
        command: The command as it was typed.
        created: UTC time, ISO 8601.
        machine: The machine's facts.
        edgexfer_version: The version that measured.
    """

    name: str
    title: str
    source: str
    classes: tuple[str, ...]
    measured: tuple[Measured, ...]
    claims: tuple[Claim, ...]
    fast: bool
    command: tuple[str, ...]
    created: str
    machine: Mapping[str, Any]
    edgexfer_version: str = __version__

    @property
    def numbers(self) -> list[Numbers]:
        """What each seed measured."""
        return [one.numbers for one in self.measured]

    @property
    def seconds(self) -> float:
        """How long all seeds took together."""
        return math.fsum(one.seconds for one in self.measured)

    def to_dict(self) -> dict[str, Any]:
        """The value as ``study.json`` holds it."""
        return {
            "format": FORMAT,
            "study": self.name,
            "title": self.title,
            "data": self.source,
            "classes": list(self.classes),
            "seeds": [asdict(one) for one in self.measured],
            "claims": [claim.to_dict() for claim in self.claims],
            "fast": self.fast,
            "command": list(self.command),
            "created": self.created,
            "machine": dict(self.machine),
            "edgexfer_version": self.edgexfer_version,
        }


def read_study(path: Path) -> StudyResult:
    """Reads a ``study.json``.

    Raises:
        FormatError: It is missing, damaged, incomplete or of a newer format.
    """
    value = read_json(path, "study")
    keys = ("expected", "quantity", "unit", "threshold", "neutral", "at_most")
    try:
        return StudyResult(
            name=value["study"],
            title=value["title"],
            source=value["data"],
            classes=tuple(value["classes"]),
            measured=tuple(Measured(**one) for one in value["seeds"]),
            claims=tuple(Claim(**{k: one[k] for k in keys}, values=tuple(one["values"])) for one in value["claims"]),
            fast=value["fast"],
            command=tuple(value["command"]),
            created=value["created"],
            machine=value["machine"],
            edgexfer_version=value["edgexfer_version"],
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"the study {str(path)!r} is incomplete: {error} is missing or malformed") from error


@dataclass(frozen=True)
class Lab:
    """Where one seed of a study is measured.

    Attributes:
        splits: The pictures, split and drawn by the seed.
        seed: Of everything that is random.
        fast: Whether the short form is wanted.
        work: A folder for runs, kept until the seed is finished.
        listener: Hears how it goes.
        data: Where the splits came from, and where further sets may lie.
        starts: Networks with their weights, as the user named them; none for those that the study pretrains itself.
    """

    splits: Splits
    seed: int
    fast: bool
    work: Path
    listener: Listener
    data: DataChoice = DataChoice("digits")
    starts: tuple[Start, ...] = ()


@dataclass(frozen=True)
class Telling:
    """How a result is shown.

    Attributes:
        figures: Drawings with their words and values.
        seen: Paragraph: what is seen here, in numbers of this result.
        literature: Paragraph: what the literature reports.
        differs: Where this run differs from it.
        tables: Values that are read beside the drawings, published ones among them.
    """

    figures: Sequence[Figure]
    seen: str
    literature: str
    differs: str
    tables: Sequence[Table] = ()


def takes_all(lab: Lab) -> None:
    """The check of a study that takes whatever pictures and networks there are."""


@dataclass(frozen=True)
class Study:
    """How a study is made.

    Attributes:
        measure: Measures one seed.
        judge: Holds the numbers of all seeds against what is expected.
        tell: Draws and tells the result.
        check: Raises what is wrong with the pictures or the networks, before anything is measured or removed.
    """

    measure: Callable[[Lab], dict[str, Any]]
    judge: Callable[[Sequence[Numbers]], list[Claim]]
    tell: Callable[[StudyResult], Telling]
    check: Callable[[Lab], None] = takes_all
