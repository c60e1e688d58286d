"""``edgexfer report`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgexfer.cli.main import cli
from edgexfer.errors import FormatError
from edgexfer.runs import read_run
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.remembered import remembered
from tests.report.makers import make_run
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


@pytest.mark.parametrize(
    ("place", "odd"),
    [
        (("choice",), None),
        (("choice",), [["seed", 3]]),
        (("choice", "colour"), "red"),
        (("choice", "seed"), {}),
        (("choice", "val_split"), "half"),
        (("choice", "group_by"), 7),
        (("data",), 7),
    ],
)
def test_a_run_that_says_oddly_how_its_data_was_chosen_is_shown_without_pictures(
    tmp_path: Path, place: tuple[str, ...], odd: object
) -> None:
    choice = DataChoice("digits").record("finetune", [])["choice"]
    folder = make_run(tmp_path / "run", images=20, recipe={"choice": choice})
    value = json.loads((folder / "run.json").read_text())
    inner = value["recipe"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    (folder / "run.json").write_text(json.dumps(value))
    assert run(folder, "--out", tmp_path / "r.html").exit_code == 0
    assert "the picture is not there any more" in (tmp_path / "r.html").read_text()
    with pytest.raises(FormatError, match="the run is damaged: in run.json the recipe's choice .*; make it anew"):
        remembered(read_run(folder))


def test_a_time_of_0_does_not_end_the_report(tmp_path: Path) -> None:
    configs = [make_config("m.onnx", latency_s=[0.0] * 40), make_config("n.onnx", runs=40)]
    done = run(make_result(tmp_path / "bench.json", configs), "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert "0 µs" in (tmp_path / "r.html").read_text()
