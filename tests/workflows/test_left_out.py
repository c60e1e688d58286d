"""Pictures that cannot be used are left out with a word, by every command that counts pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgexfer.cli.main import cli
from edgexfer.results import Budget
from edgexfer.training import Recipe
from edgexfer.training.pictures import NAMED, warn_of_left_out
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.candidates import Wishes
from edgexfer.workflows.choose import choose_from
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.evaluate import evaluate
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.measuring import Measuring
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard
from tests.workflows import measured

REASON = "is not a picture that Pillow knows; convert it to JPEG or PNG, or remove it"
TOLD = [f"WARNING left out red/broken.png: {REASON}"]


def left_out(heard: Heard) -> list[str]:
    return [line for line in heard.lines if "left out" in line]


@pytest.fixture(scope="module")
def photos(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(colours, tmp_path_factory.mktemp("data") / "photos"))
    (root / "red" / "broken.png").write_bytes(b"nothing")
    return root


@pytest.fixture(scope="module")
def run(photos: Path, small_net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, heard = tmp_path_factory.mktemp("runs") / "run", Heard()
    recipe = Recipe(epochs=1, batch_size=8, lr=0.01, image_size=32)
    finetune_data(DataChoice(str(photos)), Start(small_net), recipe, Target(out), heard)
    assert left_out(heard) == TOLD
    return out


@pytest.fixture(scope="module")
def artifact(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, heard = tmp_path_factory.mktemp("exported") / "net.onnx", Heard()
    export_run(run, out, ExportChoice(), heard)
    assert left_out(heard) == TOLD
    return out


@pytest.mark.parametrize("split", ["test", "all"])
def test_evaluate_names_and_counts_what_it_leaves_out(split: str, photos: Path, run: Path, artifact: Path) -> None:
    for model in (run, artifact):
        heard = Heard()
        found = evaluate(model, DataChoice(str(photos)), split, heard)
        assert left_out(heard) == TOLD
        assert found["skipped"] == [{"file": "red/broken.png", "reason": REASON}]
    done = CliRunner().invoke(cli, ["evaluate", str(artifact), str(photos), "--split", split])
    assert done.stdout.splitlines()[0].endswith(f" of the {split} split; 1 picture of {photos} left out)")
    done = CliRunner().invoke(cli, ["evaluate", str(artifact), str(photos), "--split", split, "--json"])
    assert len(json.loads(done.stdout)["skipped"]) == 1


def test_bundle_and_choose_name_what_they_leave_out(photos: Path, artifact: Path, tmp_path: Path) -> None:
    heard = Heard()
    make_bundle([artifact], DataChoice(str(photos)), tmp_path / "bundle", heard)
    assert left_out(heard) == TOLD
    heard = Heard()
    result = measured.result(tmp_path / "pi.json", measured.config(artifact, 5))
    data = DataChoice(str(photos))
    choose_from([result, artifact], Budget(10.0), Wishes(), heard, measuring=Measuring(), data=data)
    assert left_out(heard) == TOLD


def test_of_very_many_the_first_are_named_and_the_others_counted() -> None:
    for more, words in ((1, "1 more picture"), (3, "3 more pictures")):
        heard = Heard()
        warn_of_left_out([(f"{number}.png", "is empty (0 bytes)") for number in range(NAMED + more)], heard)
        assert len(heard.lines) == NAMED + 1 and heard.lines[-1] == f"WARNING ... and {words} left out"
