"""What the project's own measurements write of the command that made them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import record

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("word", "recorded"),
    [
        ("/home/me/data/cifar10", "cifar10"),
        ("/home/me/data/cifar10/", "cifar10"),
        ("../../data/flowers", "flowers"),
        ("~/weights.pth", "weights.pth"),
        ("--work=/mnt/disk/work", "--work=work"),
        ("name=/a/b.tar,other=/c/d.tar", "name=b.tar,other=d.tar"),
        ("/a/b.pth,/c/d.pth", "b.pth,d.pth"),
        ("benchmarks/results/memory.json", "benchmarks/results/memory.json"),
        ("a/../b", "a/../b"),
        ("0,1,2", "0,1,2"),
        ("...", "..."),
    ],
)
def test_a_machines_folders_are_not_recorded(word: str, recorded: str) -> None:
    assert record.public(word) == recorded


def test_the_header_tells_the_command_as_it_can_be_typed_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["/home/me/benchmarks/memory.py", "/home/me/my data", "--weights", "/home/me/w.pth", "--images", "9"]
    monkeypatch.setattr(sys, "argv", words)
    found = record.header(further=1)
    assert found["command"] == "python benchmarks/memory.py 'my data' --weights w.pth --images 9"
    assert found["machine"]["further"] == 1 and "/home/me" not in json.dumps(found)


@pytest.mark.parametrize("path", sorted((BENCHMARKS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_no_result_names_a_machines_folders(path: Path) -> None:
    command = json.loads(path.read_text(encoding="utf-8")).get("command", [])
    words = shlex.split(command) if isinstance(command, str) else command
    assert words == [record.public(word) for word in words]
