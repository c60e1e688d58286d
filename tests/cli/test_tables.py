"""Tables on stderr, read as a user does."""

from __future__ import annotations

import pytest

from edgexfer.cli.tables import show_swap
from edgexfer.cli.talk import Talk
from edgexfer.workflows.swap import Swap


def test_a_replaced_activation_is_shown_beside_the_own(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = {"val_top1": 0.9, "test_top1": 0.8875}, {"val_top1": 0.91, "test_top1": None}
    with Talk() as talk:
        show_swap(talk, Swap("net", "net+relu", (0.0097, 0.0093), (0.0049, 0.0042), before, after))
    said = capsys.readouterr().err
    rows = [line.split() for line in said.splitlines() if line.startswith("net")]
    assert rows == [
        ["net", "90.0%", "88.8%", "9.70", "ms", "4.90", "ms"],
        ["net+relu", "91.0%", "-", "9.30", "ms", "4.20", "ms"],
    ]
    assert "would show what the swap costs" not in said


def test_without_scores_before_it_says_how_to_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk() as talk:
        show_swap(talk, Swap("net", "net+relu", (0.1, 0.1), (0.1, 0.1), {}, {"val_top1": 0.5, "test_top1": 0.5}))
    said = " ".join(capsys.readouterr().err.split())
    assert "a run of net on the same data as --student-weights would show what the swap costs" in said
