"""What ``edgexfer choose`` prints, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgexfer.cli.main import cli
from edgexfer.cli.talk import Talk
from edgexfer.errors import DeviceError
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.train import Start
from tests.workflows import measured


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["choose", *map(str, arguments)], prog_name="edgexfer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three artifacts at 5, 20 and 40 ms."""
    root = tmp_path_factory.mktemp("choose")
    small, good, slow = (measured.artifact(root / f"{name}.onnx") for name in ("small", "good", "slow"))
    measured.result(
        root / "pi.json",
        measured.config(small, 5, 0.70),
        measured.config(good, 20, 0.95, swing=0.05, stability={"stable": False}),
        measured.config(slow, 40, 0.98),
        measured.config(slow, 30, 0.98, threads=4, peak_rss_bytes=90_000_000),
    )
    return root


def test_stdout_is_the_path_and_the_rest_is_told_beside(folder: Path) -> None:
    found = run(folder, "--budget-ms", "20.02")
    assert found.exit_code == 0, found.output
    assert found.stdout == f"{folder / 'good.onnx'}\n"
    told = found.stderr
    assert "4 measurements on Raspberry Pi 4 Model B; accuracy is what the device scored on 256 labelled" in told
    assert "chosen: good (float32), 95.0% at 20." in told
    assert "it fits narrowly: its median lies from" in told
    assert "it was unstable when it was measured" in told
    assert "the next step up, slow (float32), costs 30.0 ms, over budget: latency by 49.9%" in told
    assert "; it gains 3.0 points [" in told
    assert "], which may be chance" in told
    rows = [line.split() for line in told.splitlines() if line.startswith(("small ", "good ", "slow "))]
    assert [(row[0], row[-1]) for row in rows] == [("small", "fits"), ("good", "chosen"), ("slow", rows[2][-1])]


def test_a_file_in_the_working_folder_is_named_as_one_would_type_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert run(Path(), "--budget-ms", "20.02").stdout == "good.onnx\n"


def test_a_cheaper_one_that_may_be_as_good_is_told(folder: Path) -> None:
    told = run(folder, "--budget-ms", "100").stderr
    assert "nothing that was measured is more accurate" in told
    assert " ms may be as good: it loses 3.0 points [" in told
    assert "], which 256 pictures cannot tell from chance" in told


def test_of_an_unknown_number_of_pictures_chance_is_not_spoken_of(tmp_path: Path) -> None:
    quick, good, slow = (measured.artifact(tmp_path / f"{name}.onnx") for name in ("quick", "good", "slow"))
    top1 = {quick: 0.90, good: 0.95, slow: 0.98}
    configs = [
        measured.config(path, ms, top1[path], top1_images=0) for path, ms in ((quick, 5), (good, 20), (slow, 40))
    ]
    measured.result(tmp_path / "pi.json", *configs)
    told = run(tmp_path, "--budget-ms", "21").stderr
    assert "it gains 3.0 points\n" in told
    assert "may be as good" not in told and "chance" not in told


def test_nothing_fits_is_one_line_with_code_1(folder: Path) -> None:
    found = run(folder, "--budget-ms", "4", "--budget-memory-mb", "100")
    assert found.exit_code == 1 and found.stdout == ""
    assert found.stderr.splitlines()[-1] == (
        "Error: nothing fits latency 4.00 ms, memory 100 MB (p50): nearest comes small (float32) at 5.00 ms, 50.0 MB,"
        " 70.0%, over budget: latency by 25.0%; allow more, or let --search DATA --teacher RUN look for"
        " a smaller one"
    )


def test_for_machines_everything_is_json(folder: Path) -> None:
    found = json.loads(run(folder, "--budget-ms", "20.02", "--budget-mb", "1", "--json").stdout)
    assert found["chosen"]["path"] == str(folder / "good.onnx") and found["chosen"]["top1"] == 0.95
    assert found["budget"] == {"latency_s": 0.02002, "size_bytes": 1_000_000, "memory_bytes": None}
    assert [one["name"] for one in found["front"]] == ["small", "good", "slow"]
    assert found["next_step"]["over_budget"] == {"latency_s": pytest.approx(1.5, rel=0.01)}
    assert found["gain"]["low"] < 0 < found["gain"]["high"] and found["alike"] is None


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_front_is_drawn(folder: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"front.{kind}"
    assert run(folder, "--budget-ms", "20.02", "--plot", path).exit_code == 0
    if kind == "png":
        with Image.open(path) as picture:
            assert picture.size[0] > 1000
    else:
        text = path.read_text()
        assert "budget 20.0 ms" in text and ">good<" in text
        assert "#0a0b" not in text and "#010203" not in text  # no stand-in colour is left
    again = run(folder, "--budget-ms", "20.02", "--plot", path)
    assert again.exit_code == 1 and "exists already" in again.stderr
    assert run(folder, "--budget-ms", "3", "--plot", path, "--force").exit_code == 1  # drawn, though nothing fits
    if kind == "svg":
        assert "budget 3.00 ms" in path.read_text()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "name a budget: --budget-ms, --budget-mb or --budget-memory-mb"),
        (["--budget-ms", "0"], 2, "is not in the range x>0"),
        (["--budget-ms", "9", "--setup"], 2, "--setup and --ssh-config go with --on"),
        (["--budget-ms", "9", "--on", "pi", "--machine", "pi"], 2, "leave --machine out"),
        (["--budget-ms", "9", "--plot", "front.jpg"], 1, "'front.jpg' is no name of a picture; use one that ends in"),
    ],
)
def test_wrong_usage_is_told(folder: Path, options: list[str], code: int, message: str) -> None:
    found = run(folder, *options)
    assert found.exit_code == code and message in found.stderr


def test_much_that_is_left_out_is_told_in_part(folder: Path, tmp_path: Path) -> None:
    path = measured.artifact(tmp_path / "a.onnx")
    wrong = [measured.config(path, 1, threads=n, verified=False, status="wrong answers") for n in range(1, 16)]
    measured.result(tmp_path / "r.json", measured.config(path, 9, 0.9), *wrong)
    found = run(tmp_path, "--budget-ms", "10")
    assert found.exit_code == 0 and "left out: 3 more; --json lists them" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget-ms", "9"], "name what to choose from, or let it --search DATA --teacher RUN"),
        (["x", "--budget-ms", "9", "--student", "a", "--hours", "1"], "these go with --search DATA: students, hours"),
        (["--budget-ms", "9", "--search", "digits"], "--search needs a --teacher; make one with edgexfer finetune"),
        (["--budget-ms", "9", "--search", "digits", "--teacher", "t"], "--search needs an --out folder"),
        (
            ["--budget-ms", "9", "--search", "digits", "--teacher", "t", "--out", "o", "--data", "d"],
            "--search scores on its own DATA and measures now; leave --data and --machine out",
        ),
    ],
)
def test_options_of_a_search_go_together(arguments: list[str], message: str) -> None:
    found = run(*arguments)
    assert found.exit_code == 2 and message in found.stderr


def test_a_search_with_a_teacher_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    found = run(
        "--budget-ms", "9", "--search", "digits", "--teacher", "nobody", "--out", tmp_path / "o", "--student", "x"
    )
    assert found.exit_code == 1 and found.stdout == ""
    assert found.stderr.splitlines()[-1].startswith("Error: ") and "'x'" in found.stderr.splitlines()[-1]


def test_a_search_is_told_the_command_that_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["choose", "--budget-ms", "9", "--search", "digits", "--teacher", "t", "--out", str(tmp_path / "o")]
    told = []

    def search(plan: SearchPlan, *_: object, **__: object) -> None:
        told.append(plan.argv)
        raise DeviceError("told enough")

    monkeypatch.setattr("edgexfer.workflows.search.search", search)
    monkeypatch.setattr("sys.argv", ["/usr/bin/edgexfer", *words])
    assert run(*words[1:]).exit_code == 1
    assert told == [("edgexfer", *words)]


def test_a_search_that_is_refused_leaves_the_log_of_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(plan: SearchPlan, out: Path, talk: Talk, *_: object, **__: object) -> None:
        talk.say("teacher net: used as it is")
        raise DeviceError("refused")

    monkeypatch.setattr("edgexfer.workflows.search.search", search)
    (tmp_path / "log.txt").write_text("of the old one\n")
    found = run("--budget-ms", "9", "--search", "digits", "--teacher", "t", "--out", tmp_path, "--force")
    assert found.exit_code == 1 and "used as it is" in found.stderr
    assert (tmp_path / "log.txt").read_text() == "of the old one\n"


def test_a_search_takes_what_is_told_of_a_foreign_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []

    def search(plan: SearchPlan, *_: object, **__: object) -> None:
        plans.append(plan)
        raise DeviceError("told enough")

    monkeypatch.setattr("edgexfer.workflows.search.search", search)
    names = tmp_path / "names.txt"
    names.write_text("red\ngreen\n")
    words = ["--teacher-mean", "0", "0.1", "0.2", "--teacher-std", "1", "1", "1", "--teacher-classes", names]
    words += ["--teacher-image-size", "96"]
    asked = ["--budget-ms", "9", "--search", "digits", "--teacher", "t.onnx", "--out", tmp_path / "o"]
    assert run(*asked, *words).exit_code == 1
    (plan,) = plans
    assert plan.teachers == (Start("t.onnx", "none", (0.0, 0.1, 0.2), (1.0, 1.0, 1.0)),)
    assert (plan.names_file, plan.teacher_recipe.image_size) == (names, 96)
    told = run(tmp_path, "--budget-ms", "9", "--teacher-classes", names).stderr
    assert "these go with --search DATA: teacher_classes" in told


def test_what_was_tried_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    from edgexfer.cli.searching import show_tried
    from edgexfer.workflows.shapes import Shape
    from edgexfer.workflows.tried import Tried

    trained = ({"epochs": 2, "val_top1": 0.5}, {"epochs": 6, "val_top1": 0.75})
    final = {"file": "a@32.onnx", "precision": "float32", "chosen": True}
    show_tried(
        Talk(),
        [
            Tried(Shape("a", 32), {"float32": 0.002, "int8": 0.001}, True, trained, (final,), ""),
            Tried(Shape("b", 32), {"float32": 0.002, "int8": None}, True, trained[:1], (), "not among the best"),
            Tried(Shape("c", 32), {"float32": 0.2}, False, (), (), "over budget"),
            Tried(Shape("d", 32), {"float32": 0.001}, True, (), (), ""),
        ],
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines[1:] == [
        "network @ pixels float32 int8 2 epochs 6 epochs",
        "a@32 2 ms 1 ms 50.0% 75.0% chosen",
        "b@32 2 ms - 50.0% - not among the best",
        "c@32 200 ms - - - over budget",
        "d@32 1 ms - - - fits",
    ]
