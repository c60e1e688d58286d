"""Teachers as they are named, and what is told of them: used, or refused."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.distill import Teacher
from edgexfer.distill.teacher import architecture_of
from edgexfer.errors import RecipeError, TeacherError, TrainingError
from edgexfer.training import Recipe, Silent
from edgexfer.training.checkpoint import save_weights
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.teachers import at_hand, pair_teachers
from edgexfer.workflows.train import Start, Target
from tests.heard import Heard

SMALL = Recipe(image_size=32)
GREY = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def splits(colours: Path) -> Splits:
    return DataChoice(str(colours)).load()


def names(folder: Path, *told: str) -> Path:
    file = folder / "names.txt"
    file.write_text("\n".join(told))
    return file


def test_weights_beside_a_teacher_that_brings_its_own_are_refused(tmp_path: Path) -> None:
    run = str(tmp_path)
    with pytest.raises(RecipeError) as caught:
        pair_teachers(["resnet18", run, "big.ONNX"], ["none", "r18.pth", "imagenet"])
    said = str(caught.value)
    assert f"--teacher {run} brings its own weights, and --teacher-weights r18.pth stands beside it; they pair" in said
    assert "--teacher big.ONNX brings its own weights, and --teacher-weights imagenet stands" in said
    assert "resnet18 brings" not in said
    paired = pair_teachers(["resnet18", run, "big.onnx"], ["r18.pth", "none", "none"])
    assert [start.weights for start in paired] == ["r18.pth", "none", "none"]


def test_the_outputs_of_a_weight_file_are_mapped_by_the_names_that_are_told(
    splits: Splits, teacher: Path, small_net: str, tmp_path: Path
) -> None:
    def found(weights: Path, told: Path | None) -> Teacher | None:
        (made,) = at_hand(splits, [Start(small_net, str(weights))], SMALL, heard, told)
        return made

    heard, weights = Heard(), teacher / "weights.safetensors"
    as_the_data, turned = found(weights, None), found(weights, names(tmp_path, "red", "blue", "green"))
    assert as_the_data is not None and as_the_data.order is None
    assert turned is not None and turned.order == (1, 2, 0)
    assert heard.lines[-1] == f"teacher {small_net}: weights.safetensors fits the 3 names, used as it is"
    more = tmp_path / "more.safetensors"
    save_weights(more, nets.create(small_net, 4, input_size=(32, 32)).state_dict())
    assert found(more, None) is None
    four = found(more, names(tmp_path, "red", "blue", "pink", "green"))
    assert four is not None and four.order == (1, 3, 0)
    with pytest.raises(TeacherError, match="have 3 outputs, and 2 class names were given for them; name every output"):
        found(weights, names(tmp_path, "red", "blue"))
    with pytest.raises(TeacherError, match="lacks blue .it knows pink that the data has not"):
        found(weights, names(tmp_path, "red", "pink", "green"))


def test_what_is_told_and_no_teacher_makes_use_of_is_refused(
    splits: Splits, teacher: Path, small_net: str, tmp_path: Path
) -> None:
    told, wishes = names(tmp_path, "a", "b"), Recipe(epochs=3, image_size=64)
    with pytest.raises(RecipeError) as caught:
        at_hand(splits, [Start(str(teacher), mean=GREY, std=GREY)], wishes, Silent(), told)
    said = str(caught.value)
    for option in ("--teacher-classes", "--teacher-mean", "--teacher-std", "--teacher-image-size", "--teacher-epochs"):
        assert f"{option} is for " in said
    assert "--teacher-epochs is for a network that is fine-tuned first, and no --teacher is one; leave it out" in said
    starts = [Start(str(teacher)), Start(small_net, mean=GREY, std=GREY)]
    assert at_hand(splits, starts, wishes, Silent())[1] is None
    with pytest.raises(RecipeError, match="--teacher-classes is for an ONNX file that edgexfer did not write, or"):
        at_hand(splits, starts, wishes, Silent(), told)
    fits = [Start(small_net, str(teacher / "weights.safetensors"))]
    (made,) = at_hand(splits, fits, replace(wishes, epochs=None), Silent())
    assert made is not None and made.preprocessing.input_size == (64, 64)
    with pytest.raises(RecipeError, match="--teacher-epochs is for a network that is fine-tuned first"):
        at_hand(splits, fits, wishes, Silent())


def with_own_code(teacher: Path, small_net: str, folder: Path) -> tuple[Path, Path]:
    """The teacher in code of its own: its run, and the code."""
    path, _, function = small_net.rpartition(":")
    code, run = Path(shutil.copy(path, folder / "own.py")), Path(shutil.copytree(teacher, folder / "run"))
    value = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**value, "model": f"{code}:{function}"}))
    return run, code


def test_the_architecture_is_the_content_of_the_users_own_code(small_net: str, tmp_path: Path) -> None:
    path, _, function = small_net.rpartition(":")
    code = Path(shutil.copy(path, tmp_path / "moved.py"))
    before = architecture_of(f"{code}:{function}")
    assert before == architecture_of(small_net) and before.endswith(f":{function}")
    assert architecture_of(f"{small_net}+relu") == f"{before}+relu"
    assert architecture_of("tiny-darknet+relu") == "tiny-darknet+relu"
    code.write_text(code.read_text() + "# changed\n")
    assert architecture_of(f"{code}:{function}") != before


def test_a_teacher_whose_code_has_changed_is_told_and_not_gone_on_with(
    colours: Path, teacher: Path, small_net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)
    run, code = with_own_code(teacher, small_net, tmp_path)

    class Cut(Heard):
        def epoch(self, metrics: object) -> None:
            raise KeyboardInterrupt

    def taught(heard: Heard, *, resume: bool) -> None:
        distill_data(
            DataChoice(str(colours)), [Start(small_net)], [Start(str(run))],
            Recipe(epochs=2, batch_size=8, image_size=32), Target(tmp_path / "out", resume=resume), heard, Teaching(),
        )  # fmt: skip

    before, after = Cut(), Heard()
    with pytest.raises(KeyboardInterrupt):
        taught(before, resume=False)
    assert not [line for line in before.lines if "has changed since" in line]
    code.write_text(code.read_text() + "# changed\n")
    with pytest.raises(TrainingError, match="the networks of the teachers, or the files of their code, have changed"):
        taught(after, resume=True)
    assert [line for line in after.lines if line.startswith("WARNING") and "own.py:build' has changed since" in line]
