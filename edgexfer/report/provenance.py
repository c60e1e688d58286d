"""The section on provenance: where every network came from, and the commands that made it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgexfer.report.machines import flat, words
from edgexfer.report.models import Naming
from edgexfer.report.records import Found, FoundRun
from edgexfer.report.tables import Row, Table
from edgexfer.report.values import duration, is_number, plain, shown

NOT_LISTED = ("argv", "command")


@dataclass(frozen=True)
class Command:
    """A command as it was typed, word by word, and what came of it."""

    parts: Sequence[str]
    made: Sequence[str]


@dataclass(frozen=True)
class Origin:
    """Where a run came from: its facts, and every choice of its recipe."""

    name: str
    label: str
    facts: Table
    recipe: Table


def commands(found: Found) -> list[Command]:
    """The commands of all runs in the order of their making; one that made several runs is listed once."""
    made: dict[tuple[str, ...], list[str]] = {}
    for run in sorted(found.runs, key=lambda run: run.run.created):
        argv = run.run.recipe.get("argv")
        if isinstance(argv, list) and argv:
            made.setdefault(quoted(argv), []).append(run.label)
    return [Command(parts, labels) for parts, labels in made.items()]


def quoted(argv: Sequence[Any]) -> tuple[str, ...]:
    """The words of a command line that a shell reads back as ``argv``."""
    parts = [str(a) for a in argv]
    return tuple(shlex.quote(p) for p in (parts if parts[0].endswith("edgexfer") else ["edgexfer", *parts]))


def origins(found: Found, naming: Naming) -> list[Origin]:
    """One entry a run."""
    return [Origin(naming.names[run.label], run.label, _facts(run), _recipe(run)) for run in found.runs]


def _facts(run: FoundRun) -> Table:
    value, scores = run.run, run.run.scores
    rows = [
        Row("created", (value.created,)),
        Row("edgexfer", (value.edgexfer_version,)),
        Row("seed", (shown(value.seed, plain, run.origin("/seed")),)),
        Row("trained for", (shown(scores.get("seconds"), duration, run.origin("/scores/seconds")),)),
        *(_count(run, key, name) for key, name in _COUNTS if scores.get(key) is not None),
        Row("splits", (value.splits_fingerprint,)),
        Row("weights SHA-256", (run.weights_sha256 or "the file is not there any more",)),
    ]
    if value.model_sha256:
        rows.append(Row("network file SHA-256", (value.model_sha256,)))
    for parent in value.parents:
        name = f"{parent.get('role', 'parent')} {parent.get('name', '')}".strip()
        source = f"{parent['source']}, " if parent.get("source") else ""
        rows.append(Row(name, (f"{source}SHA-256 {parent.get('sha256') or 'not recorded'}",)))
    return Table(f"Where {run.label} came from", ("", ""), rows, frozenset({1}))


_COUNTS = (
    ("train_images", "training pictures"),
    ("val_images", "validation pictures"),
    ("test_images", "test pictures"),
    ("best_epoch", "epoch kept"),
)


def _count(run: FoundRun, key: str, name: str) -> Row:
    return Row(name, (shown(run.run.scores.get(key), plain, run.origin(f"/scores/{key}")),))


def _recipe(run: FoundRun) -> Table:
    chosen = {key: value for key, value in run.run.recipe.items() if key not in NOT_LISTED}
    rows = [
        Row(name.replace("_", " "), (shown(v, plain, run.origin(pointer)) if is_number(v) else words(v),))
        for name, pointer, v in flat(chosen, "/recipe")
    ]
    return Table("Every choice of its recipe", ("", ""), [_short(row) for row in rows], frozenset({1}))


def _short(row: Row) -> Row:
    return Row(row.name.removeprefix("recipe · "), row.cells)
