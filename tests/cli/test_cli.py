from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgexfer.cli.main import COMMANDS, cli


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="edgexfer")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert f"Example: edgexfer {name}" in result.output
    assert "--json" in result.output


def test_an_unknown_command_is_wrong_usage() -> None:
    assert run("distil").exit_code == 2


def test_an_error_is_one_line_with_code_1(tmp_path: Path) -> None:
    result = run("finetune", str(tmp_path / "none"), "--model", "resnet18", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run("report", str(tmp_path / "none"), "--out", str(tmp_path / "r.html"), "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_all_mistakes_of_a_recipe_file_are_told_together(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('epoch = 3\nbatch-size = "many"\n')
    result = run("finetune", "digits", "--model", "x", "--out", str(tmp_path / "o"), "--config", str(recipe))
    assert result.exit_code == 2
    assert "'epoch' is not an option of finetune" in result.stderr
    assert "batch-size = 'many'" in result.stderr


def test_a_recipe_file_holds_lists_where_an_option_takes_several(tmp_path: Path) -> None:
    recipe, command = tmp_path / "recipe.toml", ["finetune", "none", "--model", "x", "--out", str(tmp_path / "o")]
    recipe.write_text("mean = [0.485, 0.456, 0.406]\nweights = 'none'\nbalance = true\n")
    assert "Error: there is no" in run(*command, "--config", str(recipe)).stderr
    recipe.write_text("epochs = [3]\nlr = true\nstd = [0.2, 0.2]\npatience = 0\n")
    said = run(*command, "--config", str(recipe)).stderr
    assert "epochs = [3]: expected 1 value" in said and "std = [0.2, 0.2]: expected 3 values" in said
    assert "lr = True: true and false are for options without a value" in said and "patience = 0: 0 is not in" in said
    taught = ["distill", "digits", "--out", str(tmp_path / "o"), "--config", str(recipe)]
    recipe.write_text("student = ['tiny-darknet', 'a/tiny-darknet']\nteacher = 'none'\n")
    assert "several students are called tiny-darknet" in run(*taught).stderr
    recipe.write_text("teacher = 'none'\n")
    assert "Missing option '--student'" in run(*taught).stderr


def test_the_command_line_wins_over_the_recipe_file(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('lr = -1.0\naugment = "none"\n')
    out = str(tmp_path / "o")
    refused = run("finetune", "digits", "--model", "resnet18", "--out", out, "--config", str(recipe))
    assert refused.exit_code == 1 and "lr is -1.0" in refused.stderr
    other = run("finetune", "digits", "--model", "resnet19", "--out", out, "--config", str(recipe), "--lr", "0.1")
    assert "lr is" not in other.stderr and "resnet19" in other.stderr


def test_models_are_listed_for_machines() -> None:
    listed = json.loads(run("models", "--json").stdout)
    tiny = next(entry for entry in listed if entry["name"] == "tiny-darknet")
    assert tiny["parameters"] == 1_042_104
    assert tiny["input_size"] == [224, 224]
    assert "tiny-darknet" in run("models").stdout


def test_a_fleet_is_drawn_on_a_terminal_and_told_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from edgexfer.cli.fleet import Watch
    from edgexfer.cli.talk import Talk

    talk = Talk()
    with Watch(talk, ["kitchen"]) as watch:
        watch("kitchen", "measuring", "round 1")
        watch("kitchen", "measuring", "round 2")  # the same state, told again only after a while
        watch("kitchen", "ok", "kitchen.json")
    assert capsys.readouterr().err.splitlines() == ["kitchen: measuring: round 1", "kitchen: ok: kitchen.json"]
    drawn = io.StringIO()
    talk.console = Console(file=drawn, force_terminal=True, width=80)
    with Watch(talk, ["kitchen", "shed"]) as watch:
        watch("shed", "copying", "[3.1 MB]")
    assert "kitchen" in drawn.getvalue() and "[3.1 MB]" in drawn.getvalue()


def test_options_of_a_fleet_ask_for_one() -> None:
    result = run("bench", "bundle", "--setup")
    assert result.exit_code == 2
    assert "--setup and --ssh-config go with --on or --fleet" in result.output


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    from edgexfer.cli.talk import Talk

    (tmp_path / "log.txt").mkdir()
    with pytest.raises(ValueError, match="what went wrong"), Talk(tmp_path / "log.txt") as talk:
        talk.say("a sentence")
        raise ValueError("what went wrong")


@pytest.mark.parametrize(
    ("place", "command", "told"),
    [
        (
            "edgexfer.workflows.train.finetune_data",
            ["finetune", "digits", "--model", "resnet18", "--out", "run"],
            "Interrupted; the same command with --resume goes on from there",
        ),
        ("edgexfer.workflows.evaluate.evaluate", ["evaluate", ".", "digits"], "Interrupted"),
        ("edgexfer.workflows.choose.choose_from", ["choose", ".", "--budget-ms", "20"], "Interrupted"),
    ],
)
def test_an_interrupt_is_one_line_with_code_130(
    place: str, command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, stopped)
    result = run(*command)
    assert (result.exit_code, result.stderr) == (130, f"{told}\n")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (run(*command).exit_code, run(*command).stderr) == (130, "")


@pytest.mark.parametrize(("name", "there"), [("kit", "cd kit"), ("kit.tar.gz", "tar xf kit.tar.gz && cd kit")])
def test_a_bundle_tells_what_is_typed_on_the_device(
    name: str, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "student.onnx").touch()
    monkeypatch.setattr("edgexfer.workflows.bundle.make_bundle", lambda *_, **__: tmp_path / name)
    words = ["bundle", str(tmp_path / "student.onnx"), "--data", "digits", "--out", str(tmp_path / name)]
    assert run(*words).stderr == f"on the device: {there} && ./setup.sh && python3 bench.py\n"
