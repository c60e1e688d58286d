"""Reading the files that a measurement leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgexfer.errors import DeviceError, FormatError
from edgexfer.results import compare_files, read_result
from tests.results.resultfiles import config, noisy, save


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = read_result(save(tmp_path / "a.json", config(), config(threads=4)))
    assert found.machine["host"] == "pi" and not found.emulated and found.created.startswith("2025")
    assert [c.threads for c in found.configs] == [1, 4] and found.configs[0].timed
    assert found.configs[0].latency_s == tuple(noisy(0.01, 1)) and found.configs[0].affinity == (0, 1, 2, 3)
    with pytest.raises(AttributeError):
        found.emulated = True  # type: ignore[misc]


def test_a_foreign_models_blanks_are_read(tmp_path: Path) -> None:
    blank = config(precision=None, network=None, parent_sha256=None, verified=None, top1=None, affinity=None)
    assert read_result(save(tmp_path / "a.json", blank)).configs[0].verified is None


@pytest.mark.parametrize(
    ("configs", "changes", "message"),
    [
        ([], {"format": 2, "edgexfer_version": "9.9"}, "format 2, written by edgexfer 9.9"),
        ([], {"configs": None}, "no list of 'configs'; name a file that edgexfer bench"),
        ([], {"machine": None}, "malformed: machine is missing; bench again"),
        ([], {"emulated": 1}, "emulated is 1; expected true or false"),
        ([], {"configs": [3]}, r"configs\[0\] is 3; expected an object"),
        ([config(sha256=None)], {}, r"configs\[0\].sha256 is missing"),
        ([config(threads="1")], {}, "threads is '1'; expected a whole number from 0 up"),
        ([config(load_s=-1)], {}, "load_s is -1; expected a number from 0 up"),
        ([config(load_s=10**400)], {}, "load_s is 10+; expected a number from 0 up"),
        ([config(threads=10**400)], {}, "threads is 10+; expected a whole number from 0 up"),
        ([config(latency_s=[10**400])], {}, r"latency_s\[0\] is 10+; expected seconds from 0 up"),
        ([config(top1=90)], {}, "top1 is 90; expected a fraction from 0 to 1"),
        ([config(latency_s=[0.1, "x"])], {}, r"latency_s\[1\] is 'x'; expected seconds from 0 up"),
        ([config(latency_s=[float("nan")])], {}, r"latency_s\[0\] is nan"),
        ([config(latency_s=3)], {}, "latency_s is 3; expected a list"),
        ([config(model=3)], {}, "model is 3; expected a text"),
    ],
)
def test_a_result_that_is_none(tmp_path: Path, configs: list[Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_result(save(tmp_path / "a.json", *configs, **changes))


def test_a_missing_result(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot read the benchmark result"):
        read_result(tmp_path / "lost.json")


def test_rounds_and_verdicts_are_read(tmp_path: Path) -> None:
    rounds = [{"begin": 0, "count": 120}, {"begin": 120, "count": 80}]
    shaky = save(tmp_path / "a.json", config(rounds=rounds, stability={"stable": False}, head="head.npz"))
    (read,) = read_result(shaky).configs
    assert (read.runs, read.stable, read.head) == ((120, 80), False, "head.npz")
    second = save(tmp_path / "b.json", config(rounds=rounds, latency_s=noisy(0.02, 2)))
    assert "was unstable when it was measured" in compare_files(shaky, second, "head").sentence()
    with pytest.raises(DeviceError, match='head is "head.npz" and null'):
        compare_files(shaky, second, "threads")
    for rounds in ([{"count": "many"}], [3.5]):
        save(tmp_path / "c.json", config(rounds=rounds))
        with pytest.raises(FormatError, match=r"rounds\[0\].count is .*; expected a whole number"):
            read_result(tmp_path / "c.json")
