"""Tables on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from edgexfer.cli.common import percent
from edgexfer.words import people_size

if TYPE_CHECKING:
    from edgexfer.cli.talk import Talk
    from edgexfer.workflows.distill import DistillResult
    from edgexfer.workflows.gain import Gain
    from edgexfer.workflows.swap import Swap

POOR_ECE = 0.1


def show_table(talk: Talk, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table: first column left, the others right; without lines in a pipe."""
    on_terminal = talk.console.is_terminal
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD if on_terminal else None, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    talk.console.print(table)


def show_students(talk: Talk, result: DistillResult) -> None:
    """The student beside its teacher, and beside the same student without a teacher."""
    scores = result.student.scores
    teacher: dict[str, Any] = scores["teacher"]
    rows = [
        _row(f"teacher {teacher['name']}", teacher, teacher),
        _row(f"student {result.student.model}", scores, teacher),
    ]
    if result.baseline is not None:
        rows.append(_row("same student, hard labels", result.baseline.scores, teacher))
    if "before" in scores:
        rows.insert(1, _row("student before", {**scores, "test_top1": None, **scores["before"]}, teacher))
    heads = ("", "validation", "test", "ECE", "NLL", "parameters", "teacher / this", "operations", "weights")
    show_table(talk, "Teacher against student", heads, rows)
    rounded = scores.get("quantization_aware")
    if rounded is not None:
        talk.say(
            f"with int8's rounding: validation {percent(rounded['val_top1_before'])} before,"
            f" {percent(rounded['val_top1'])} now; test {percent(rounded['test_top1'])}"
        )
    trust = _held_out(scores, "ece")
    if trust is not None and trust > POOR_ECE and not result.student.recipe.get("standardise"):
        talk.warn(
            f"the student's probabilities are {trust:.0%} off on average (ECE), though its order of classes may be"
            " good; --standardise mostly keeps them true"
        )
    gain = result.gain()
    if gain is not None:
        talk.say(_verdict(gain))


def show_swap(talk: Talk, swap: Swap) -> None:
    """The student beside the network with its own activation: accuracy, and time on this machine."""
    rows = [
        (
            name,
            *(percent(scores.get(key)) for key in ("val_top1", "test_top1")),
            *(f"{1e3 * seconds[place]:.2f} ms" for seconds in (swap.float32_s, swap.int8_s)),
        )
        for place, (name, scores) in enumerate(((swap.before, swap.scores_before), (swap.after, swap.scores_after)))
    ]
    heads = ("", "validation", "test", "float32", "int8")
    show_table(talk, "Before and after the activation was replaced (one picture, one thread, here)", heads, rows)
    if not swap.scores_before:
        talk.say(f"a run of {swap.before} on the same data as --student-weights would show what the swap costs")


def _row(name: str, scores: Mapping[str, Any], teacher: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        percent(scores["val_top1"]),
        percent(scores["test_top1"]),
        percent(_held_out(scores, "ece")),
        _number(_held_out(scores, "nll")),
        f"{scores['parameters']:,}",
        f"{teacher['parameters'] / scores['parameters']:.1f}x",
        "-" if scores["operations"] is None else f"{scores['operations'] / 1e6:,.1f} M",
        people_size(scores["weights_bytes"]),
    )


def _held_out(scores: Mapping[str, Any], figure: str) -> float | None:
    """A figure on test where there is one, else on validation; ``None`` for runs of older versions."""
    on_test: float | None = scores.get(f"test_{figure}") if scores["test_top1"] is not None else None
    return scores.get(f"val_{figure}") if on_test is None else on_test


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _verdict(gain: Gain) -> str:
    points = f"{100 * gain.top1:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    advice = "; more seeds, or more pictures, would tell"
    if gain.low > 0 or gain.high < 0:
        advice = "" if gain.low > 0 else "; this student is better off without the teacher"
    return (
        f"distilling {gain.verdict}: {points} over hard labels on {gain.images:,} {gain.split} pictures"
        f" (one seed){advice}"
    )
