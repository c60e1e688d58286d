"""``--force`` replaces runs alone, nothing that the command reads, and not before all that can be refused has been."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgexfer.cli.main import cli
from edgexfer.errors import (
    DataError,
    EdgexferError,
    NetworkError,
    RecipeError,
    WeightsError,
    WouldOverwriteError,
)
from edgexfer.runs import is_run, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows import quickstart
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard

RECIPE = Recipe(epochs=1, batch_size=8, lr=0.01, image_size=32)


@pytest.fixture
def run_folder(teacher: Path, tmp_path: Path) -> Path:
    """A run that may be lost."""
    return Path(shutil.copytree(teacher, tmp_path / "run"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fine_tune(data: Path, start: Start, out: Path, strategy: Strategy | None = None, recipe: Recipe = RECIPE) -> None:
    finetune_data(DataChoice(str(data)), start, recipe, Target(out, force=True), Silent(), strategy)


def test_a_command_that_cannot_run_removes_nothing(
    colours: Path, small_net: str, run_folder: Path, tmp_path: Path
) -> None:
    before, damaged = files_of(run_folder), tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    weights = shutil.copy(run_folder / "weights.safetensors", tmp_path / "pretrained.safetensors")
    pretrained = Start(small_net, str(weights))
    attempts: list[tuple[type[EdgexferError], Path, Start, Strategy | None]] = [
        (DataError, tmp_path / "phtos", Start(small_net), None),
        (EdgexferError, colours, Start("resnet19"), None),
        (WeightsError, colours, Start(small_net, str(damaged)), None),
        (WeightsError, colours, Start(small_net, str(damaged)), Strategy("auto")),
        (NetworkError, colours, Start(small_net), Strategy("classifier", cut="layer9")),
        (RecipeError, colours, Start(small_net), Strategy("scratch")),
        (RecipeError, colours, pretrained, Strategy("full", bn="train")),
    ]
    for error, data, start, strategy in attempts:
        with pytest.raises(error):
            fine_tune(data, start, run_folder, strategy, replace(RECIPE, batch_size=1))
        assert files_of(run_folder) == before

    def teach(student: Start, teacher: Start) -> None:
        target = Target(run_folder, force=True)
        distill_data(DataChoice(str(colours)), [student], [teacher], RECIPE, target, Silent(), Teaching())

    mistaken = Start(small_net, str(damaged))
    for student, teacher in ((mistaken, Start(small_net)), (Start(small_net), Start("resnet19")), (mistaken,) * 2):
        with pytest.raises(EdgexferError):
            teach(student, teacher)
        assert files_of(run_folder) == before


def test_what_the_command_reads_is_not_replaced(
    colours: Path, small_net: str, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = Path(shutil.copytree(colours, tmp_path / "photos"))
    before = files_of(run_folder)
    with pytest.raises(WouldOverwriteError, match="photos' is what this command reads, and --force would remove it"):
        fine_tune(photos, Start(small_net), photos)
    with pytest.raises(WouldOverwriteError, match=r"holds '.*photos', what this command reads.*another --out"):
        fine_tune(photos, Start(small_net), tmp_path)
    for weights in (run_folder, run_folder / "weights.safetensors"):
        with pytest.raises(WouldOverwriteError, match="what this command reads"):
            fine_tune(colours, Start(small_net, str(weights)), run_folder)
    with pytest.raises(WouldOverwriteError, match="what this command reads"):
        distill_data(
            DataChoice(str(colours)), [Start(small_net)], [Start(str(run_folder))], RECIPE,
            Target(run_folder, force=True), Silent(), Teaching(),
        )  # fmt: skip
    monkeypatch.chdir(run_folder)
    with pytest.raises(WouldOverwriteError, match="is or holds the folder that this command runs in"):
        fine_tune(colours, Start(small_net), Path())
    assert files_of(run_folder) == before and len(files_of(photos)) == 60


def test_no_run_is_written_where_it_would_be_a_class(colours: Path, small_net: str, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(colours, tmp_path / "photos"))
    for place in (photos / "run", photos / "red" / "run"):
        with pytest.raises(DataError, match=r"run' lies among the pictures of .*photos', where it would count as a cl"):
            fine_tune(photos, Start(small_net), place)
        with pytest.raises(DataError, match="lies among the pictures"):
            distill_data(
                DataChoice(str(photos)), [Start(small_net)], [Start(small_net)], RECIPE, Target(place), Silent(),
                Teaching(),
            )  # fmt: skip
    split = Path(shutil.copytree(photos, tmp_path / "split" / "train")).parent
    with pytest.raises(DataError, match="lies among the pictures"):
        fine_tune(split, Start(small_net), split / "train" / "run")
    for data, place in ((photos, photos / ".runs" / "a"), (split, split / "run")):
        fine_tune(data, Start(small_net), place)
        assert is_run(place)


def test_only_what_trainings_left_is_replaced(colours: Path, small_net: str, run_folder: Path, tmp_path: Path) -> None:
    other, notes = Path(shutil.copytree(colours, tmp_path / "other")), tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(WouldOverwriteError, match=r"other' is a folder that holds 'blue', 'green', 'red'; --force"):
        fine_tune(colours, Start(small_net), other)
    with pytest.raises(WouldOverwriteError, match=r"notes.txt' is a file; --force replaces a run, finished or"):
        fine_tune(colours, Start(small_net), notes)
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(WouldOverwriteError, match=r"link' is a link that leads nowhere; --force replaces"):
        fine_tune(colours, Start(small_net), tmp_path / "link")
    runs = tmp_path / "runs"
    for name in ("a", "b"):
        shutil.copytree(run_folder, runs / name)
    text = (runs / "b" / "run.json").read_text()
    (runs / "b" / "run.json").write_text(text.replace('"finetune"', '"distill"'))
    with pytest.raises(WouldOverwriteError, match="or the runs of one command"):  # the parent of one's runs
        fine_tune(colours, Start(small_net), runs)
    (runs / "b" / "run.json").write_text("{")
    with pytest.raises(WouldOverwriteError, match="holds 'a', 'b'; --force"):
        fine_tune(colours, Start(small_net), runs)
    cut = tmp_path / "cut"
    (cut / "resume").mkdir(parents=True)
    for name in ("log.txt", "metrics.jsonl", "resume/checkpoint.pt", "resume/progress.json", ".metrics.jsonl.x1.part"):
        (cut / name).write_text("")
    shutil.copytree(run_folder, cut / "teachers" / "0-resnet18")
    (tmp_path / "empty").mkdir()
    for place in (cut, tmp_path / "empty", run_folder):
        fine_tune(colours, Start(small_net), place)
        assert is_run(place) and read_run(place).recipe["settings"]["epochs"] == 1
        assert not (place / "teachers").exists()


def test_several_students_are_replaced_with_the_teachers_that_they_share(
    colours: Path, small_net: str, tmp_path: Path
) -> None:
    out, heard = tmp_path / "out", Heard()

    def teach(force: bool, epochs: int = 1, seed: int = 0, run: Path | None = None) -> None:
        wishes = Recipe(epochs=epochs, image_size=32, batch_size=8)
        distill_data(
            DataChoice(str(colours), seed=seed),
            [Start("tiny-darknet"), Start(small_net)],
            [Start(small_net if run is None else str(run))],
            Recipe(epochs=1, batch_size=8, image_size=32, seed=seed),
            Target(out, force=force),
            heard,
            Teaching(teacher_recipe=wishes if run is None else None, allow_weak=True),
        )

    def made() -> int:
        count = sum("so it is fine-tuned on this data first" in line for line in heard.lines)
        heard.lines.clear()
        return count

    def without_students() -> None:
        for place in (out / "tiny-darknet", out / "small.py-build"):
            shutil.rmtree(place)

    teach(force=False)
    assert made() == 1
    without_students()
    teach(force=False)
    assert made() == 0, "the same teacher on the same pictures"
    for change in ({"epochs": 2}, {"seed": 3}):
        without_students()
        teach(force=False, **change)
        assert any("made from other pictures or with other settings, so it is made anew" in x for x in heard.lines)
        assert made() == 1
    teach(force=True, seed=3)
    assert made() == 1 and is_run(out / "tiny-darknet") and is_run(out / "teachers" / "0-small.py-build")
    made_before = files_of(out / "teachers")
    teach(force=True, seed=3, run=out / "teachers" / "0-small.py-build")
    assert made() == 0 and files_of(out / "teachers") == made_before, "what is read stays"
    shutil.rmtree(out / "teachers")
    shutil.copytree(colours, out / "teachers")
    with pytest.raises(WouldOverwriteError, match=r"teachers' is a folder that holds 'blue'"):
        teach(force=True)


def test_the_log_tells_of_the_new_run_alone(colours: Path, small_net: str, tmp_path: Path) -> None:
    def run(data: Path, *more: str) -> Result:
        words = ["finetune", str(data), "--model", small_net, "--out", str(tmp_path / "run"), "--epochs", "1", *more]
        return CliRunner().invoke(cli, [*words, "--image-size", "32", "--force"], prog_name="edgexfer")

    for more in ((), ("--strategy", "head")):
        assert run(colours, *more).exit_code == 0
        lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
        assert sum("3 classes; pictures: 42 train" in line for line in lines) == 1
        assert sum(line.startswith("validation ") for line in lines) == 1
    before = (tmp_path / "run" / "log.txt").read_text()
    assert run(colours, "--weights", str(tmp_path / "none")).exit_code == 1
    assert (tmp_path / "run" / "log.txt").read_text() == before


def test_a_quickstart_replaces_a_quickstart_alone(
    colours: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    def begin(*_: object) -> None:
        raise Begun

    monkeypatch.setattr(quickstart, "finetune_data", begin)
    photos = Path(shutil.copytree(colours, tmp_path / "photos"))
    (photos / "red").rename(photos / "teacher")
    with pytest.raises(
        WouldOverwriteError,
        match="photos' is a folder that holds 'blue', 'green', 'teacher'; --force replaces what this",
    ):
        quickstart.quickstart(photos, Silent(), force=True)
    assert len(files_of(photos)) == 60
    demo = tmp_path / "demo"
    shutil.copytree(run_folder, demo / "teacher")
    (demo / "report.html").write_text("")
    with pytest.raises(WouldOverwriteError, match="demo' exists already"):
        quickstart.quickstart(demo, Silent())
    with pytest.raises(Begun):
        quickstart.quickstart(demo, Silent(), force=True)
    assert not demo.exists()
