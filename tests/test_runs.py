from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgexfer.errors import FormatError
from edgexfer.preprocessing import square
from edgexfer.runs import RESUME_FOLDER, Run, is_run, read_lines, read_run, write_lines, write_run


def some_run() -> Run:
    return Run(
        model="tiny-darknet",
        classes=("2", "10", "ß"),
        preprocessing=square(32),
        splits_fingerprint="f" * 64,
        seed=3,
        recipe={"command": "distill"},
        parents=({"role": "teacher", "name": "resnet18", "sha256": "0" * 64},),
        scores={"val_top1": 0.5, "test_top1": None},
        created="2026-01-02T03:04:05Z",
    )


def test_a_run_comes_back(tmp_path: Path) -> None:
    write_run(tmp_path, some_run())
    assert is_run(tmp_path)
    assert read_run(tmp_path) == some_run()


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no run .*finetune or edgexfer distill"):
        read_run(tmp_path / "none")
    with pytest.raises(FormatError, match="is not a run: it holds no run.json"):
        read_run(tmp_path)
    (tmp_path / RESUME_FOLDER).mkdir()
    with pytest.raises(FormatError, match="has not ended; repeat its command with --resume"):
        read_run(tmp_path)


def test_an_incomplete_run_names_what_is_missing(tmp_path: Path) -> None:
    write_run(tmp_path, some_run())
    value = json.loads((tmp_path / "run.json").read_text())
    del value["classes"]
    (tmp_path / "run.json").write_text(json.dumps(value))
    with pytest.raises(FormatError, match="incomplete: 'classes' is missing"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model", None, "model is 'None'"),
        ("created", 1e308, "created is '1e[+]308'"),
        ("seed", "x", "seed is 'x'"),
        ("classes", "abc", "classes is 'abc'"),
        ("classes", ["a", True], "a class is True"),
        ("parents", [7], "a parent is 7"),
        ("recipe", [], r"recipe is '\[\]'"),
        ("scores", 0.9, "scores is '0.9'"),
    ],
)
def test_a_run_of_other_kinds_of_values_is_damaged(tmp_path: Path, key: str, value: object, told: str) -> None:
    write_run(tmp_path, some_run())
    whole = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**whole, key: value}))
    with pytest.raises(FormatError, match=f"is damaged: in run.json {told}.*; make it anew"):
        read_run(tmp_path)


def test_lines_come_back_and_damage_is_located(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path) == []
    write_lines(path, [{"epoch": 1}, {"epoch": 2}])
    assert read_lines(path) == [{"epoch": 1}, {"epoch": 2}]
    odd = [{"file": f"a{letter}b.jpg"} for letter in "\u2028\u2029\x85\x0b\x1c\r\n"]
    write_lines(path, odd)
    assert read_lines(path) == odd
    path.write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(FormatError, match="line 2, is not valid JSON"):
        read_lines(path)
    path.write_text("[1]\n")
    with pytest.raises(FormatError, match="line 1, holds list"):
        read_lines(path)
