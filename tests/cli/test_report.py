"""``edgexfer report`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgexfer.cli.main import cli
from tests.report.measurements import make_config, make_result


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)], prog_name="edgexfer")


@pytest.mark.parametrize(
    ("name", "asked", "begins"),
    [
        ("r.html", [], "<!doctype html>"),
        ("r.md", [], "# m"),
        ("r.csv", [], "network,run,"),
        ("r.txt", ["--format", "csv"], "network,run,"),
        ("r.md", ["--format", "html"], "<!doctype html>"),
    ],
)
def test_the_form_is_what_was_asked_for_or_what_the_name_ends_in(
    tmp_path: Path, name: str, asked: list[str], begins: str
) -> None:
    result = make_result(tmp_path / "bench.json", [make_config("m.onnx", runs=40)])
    done = run(result, "--out", tmp_path / name, *asked, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"report": str(tmp_path / name)}
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


def test_another_form_is_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path, "--out", tmp_path / "r.pdf", "--format", "pdf").exit_code == 2
