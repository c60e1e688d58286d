"""What is chosen from folders of artifacts and results, and what is said where nothing can be."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer.errors import DeviceError, FormatError
from edgexfer.results import Budget, Outcome, run_bench
from edgexfer.training import Silent
from edgexfer.workflows import measuring as measuring_module
from edgexfer.workflows.candidates import Wishes
from edgexfer.workflows.choose import Chosen, choose_from
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.measuring import Measuring
from tests.heard import Heard
from tests.workflows import measured
from tests.workflows.measured import bundled, full

QUICK = {"min_seconds": 0.02, "min_runs": 30}


def chosen(*paths: Path, ms: float = 20, out: Path | None = None, **options: Any) -> Chosen:
    data, how = options.pop("data", None), options.pop("how", Measuring(out=out or Path("nowhere")))
    wishes = Wishes(**options)
    return choose_from(paths, Budget(latency_s=ms / 1000), wishes, Silent(), measuring=how, data=data)


def best(found: Chosen) -> str:
    assert found.choice.chosen is not None
    return found.choice.chosen.name


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return measured.artifact(tmp_path / "large.onnx"), measured.artifact(tmp_path / "small.onnx")


def test_results_and_files_are_joined_by_content_wherever_they_lie(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    shutil.move(small, tmp_path / "renamed.onnx")
    renamed = tmp_path / "renamed.onnx"
    result = measured.result(
        tmp_path / "far/away.json", measured.config(large, 30, 0.9), measured.config(renamed, 5, 0.7)
    )
    found = chosen(tmp_path)
    assert best(found) == "renamed" and found.choice.chosen.path == renamed  # type: ignore[union-attr]
    assert [c.name for c in found.choice.front] == ["renamed", "large"]
    assert found.choice.next_step is not None and found.choice.next_step.name == "large"
    assert best(chosen(large, renamed, result, ms=31)) == "large"
    assert found.gathered.machine == "Raspberry Pi 4 Model B"
    assert found.gathered.source == "accuracy is what the device scored on 256 labelled pictures"


def test_emulated_times_are_no_latencies(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    measured.result(tmp_path / "a.json", measured.config(large, 30, 0.9))
    measured.result(tmp_path / "b.json", measured.config(small, 1, 0.99), emulated=True)
    found = chosen(tmp_path, ms=40)
    assert best(found) == "large"
    assert "b.json: taken on an emulated processor, whose times are no latencies" in found.gathered.left_out
    (tmp_path / "a.json").unlink()
    with pytest.raises(
        DeviceError, match="of 1 benchmark results none can be chosen by .*emulated.*on the device itself"
    ):
        chosen(tmp_path)


def test_machines_are_never_mixed(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    measured.result(tmp_path / "pi.json", measured.config(large, 30, 0.9), measured.config(small, 15, 0.7))
    measured.result(tmp_path / "box.json", measured.config(large, 3, 0.9), machine=measured.BOX)
    with pytest.raises(
        DeviceError, match="latencies of 2 machines are not mixed.*pi .*box .*choose with --machine HOST"
    ):
        chosen(tmp_path)
    assert best(chosen(tmp_path, machine="pi")) == "small"
    assert best(chosen(tmp_path, machine="N100")) == "large"
    assert best(chosen(tmp_path, machine="Raspberry Pi 4 Model B")) == "small"
    with pytest.raises(DeviceError, match="nothing was measured on 'pc'; measured were: .*pi.*; box"):
        chosen(tmp_path, machine="pc")


def test_one_host_under_two_governors_is_two_machines(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, _ = two
    for governor in ("powersave", "performance"):
        machine = {**measured.BOX, "governor": governor}
        measured.result(tmp_path / f"{governor}.json", measured.config(large, 3, 0.9), machine=machine)
    with pytest.raises(DeviceError, match="differ in governor.*name the results of one of them only"):
        chosen(tmp_path, machine="box")


def test_repeated_results_are_put_together(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, _ = two
    for number, ms in enumerate((10, 20, 60)):
        measured.result(tmp_path / f"{number}.json", measured.config(large, ms, 0.9, count=100))
    (one,) = chosen(tmp_path, ms=21).gathered.candidates
    assert one.latency_s == pytest.approx(0.020, rel=0.02)
    assert one.interval_s is not None and one.interval_s[0] < 0.011 and one.interval_s[1] > 0.059


def test_only_single_pictures_with_right_answers_count(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    measured.result(
        tmp_path / "a.json",
        measured.config(large, 30, 0.9),
        measured.config(large, 2, 0.9, scenario="offline", batch=8),
        measured.config(large, 2, 0.9, head="head.npz"),
        measured.config(small, 1, 0.99, verified=False, status="wrong answers"),
    )
    found = chosen(tmp_path, ms=40)
    assert len(found.gathered.candidates) == 1 and best(found) == "large"
    assert "small · float32 · 1 thread in a.json: wrong answers" in found.gathered.left_out


def test_threads_and_statistics_are_those_asked_for(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    measured.result(
        tmp_path / "a.json",
        measured.config(large, 30, 0.9),
        measured.config(large, 12, 0.9, threads=4),
        measured.config(small, 15, 0.7, count=40),
    )
    assert chosen(tmp_path).choice.chosen.threads == 4  # type: ignore[union-attr]
    assert best(chosen(tmp_path, threads=1)) == "small"
    found = chosen(tmp_path, statistic="p90")
    assert best(found) == "large" and found.choice.chosen.latency_s > 0.012  # type: ignore[union-attr]
    assert any("small" in told and "40 times are too few for p90" in told for told in found.gathered.left_out)
    with pytest.raises(DeviceError, match="none can be chosen by"):
        chosen(tmp_path, threads=2)


def test_accuracies_come_from_one_source_only(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    measured.result(tmp_path / "a.json", measured.config(large, 30, 0.9), measured.config(small, 15))
    measured.proof(small, top1=0.6, top1_float32=0.65, images=100)
    found = chosen(tmp_path, ms=40)
    assert best(found) == "large"
    assert any(
        "small" in told and "its accuracy is not known from the same source" in told for told in found.gathered.left_out
    )
    measured.proof(large, top1=0.6, top1_float32=0.64, images=200)
    measured.result(tmp_path / "a.json", measured.config(large, 30), measured.config(small, 15))
    found = chosen(tmp_path, ms=40)
    assert found.gathered.source == "accuracy is what the workstation scored on 100 to 200 held-out pictures"
    assert (best(found), found.choice.chosen.top1) == ("small", 0.65)  # type: ignore[union-attr]
    assert found.choice.alike is None


def test_what_cannot_be_judged_is_left_out_and_named(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    foreign = measured.artifact(tmp_path / "foreign.onnx", foreign=True)
    measured.result(
        tmp_path / "a.json",
        measured.config(large, 30, 0.9, peak_rss_bytes=None),
        measured.config(small, 15, 0.7),
        measured.config(foreign, 1, 0.9),
        {**measured.config(small, 1, 0.9), "sha256": "ef" * 32, "model": "gone.onnx"},
    )
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x09cut")
    (tmp_path / "cut.json").write_text('{"format": 1, "configs": [')
    (tmp_path / "odd.json").write_text('{"format": 1, "configs": [{"latency_s": [1.0]}]}')
    found = chosen(tmp_path, ms=40, with_memory=True)
    assert best(found) == "small"
    told = "\n".join(found.gathered.left_out)
    assert "foreign · float32 · 1 thread: written by another program" in told
    assert "gone · float32 · 1 thread: measured, but its file (SHA-256 efefefefefef)" in told
    assert "large · float32 · 1 thread: its memory was not measured" in told
    assert "cut.onnx" in told and "odd.json' is malformed: machine is missing" not in told
    assert "odd.json" in told


def test_what_was_not_measured_is_left_out_and_named(two: tuple[Path, Path], tmp_path: Path) -> None:
    large, small = two
    far, wide = measured.artifact(tmp_path / "far.onnx"), measured.artifact(tmp_path / "wide.onnx")
    measured.artifact(tmp_path / "foreign.onnx", foreign=True)
    measured.result(tmp_path / "pi.json", measured.config(large, 30, 0.9), measured.config(wide, 9, 0.8, threads=4))
    measured.result(tmp_path / "box.json", measured.config(far, 1, 0.9), machine=measured.BOX)
    measured.result(tmp_path / "mimicked.json", measured.config(small, 1, 0.9), emulated=True)
    left_out = chosen(tmp_path, ms=40, machine="pi", threads=1).gathered.left_out
    there = "no time of single pictures on Raspberry Pi 4 Model B with 1 thread; bench it there too"
    assert sorted(left_out) == [
        f"far.onnx: {there}",
        "foreign.onnx: written by another program, so nothing tells what it classifies",
        "mimicked.json: taken on an emulated processor, whose times are no latencies",
        f"small.onnx: {there}",
        f"wide.onnx: {there}",
    ]
    assert not any("wide" in told for told in chosen(tmp_path, ms=40, machine="pi").gathered.left_out)


def test_a_damaged_file_that_was_named_is_an_error(two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"format": 1, "configs": [')
    with pytest.raises(FormatError, match="cut.json.* is not valid JSON"):
        chosen(two[0], tmp_path / "cut.json")
    with pytest.raises(FormatError, match="there is no"):
        chosen(tmp_path / "nothing")


def test_artifacts_of_other_classes_are_no_choice(tmp_path: Path) -> None:
    one = measured.artifact(tmp_path / "one.onnx")
    other = measured.artifact(tmp_path / "other.onnx", classes=("cat", "dog"))
    measured.result(tmp_path / "a.json", measured.config(one, 3, 0.9), measured.config(other, 2, 0.9))
    with pytest.raises(
        DeviceError, match="artifacts of different classes are no choice: one.onnx knows .*; other.onnx"
    ):
        chosen(tmp_path)


# --- measured now


def pictures(folder: Path) -> Path:
    generator = np.random.default_rng(3)
    for number, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            colour = np.full((12, 16, 3), 60) + generator.integers(0, 30, (12, 16, 3))
            colour[..., number] += 120
            Image.fromarray(colour.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.mark.parametrize("tar", [False, True])
def test_a_bundle_without_results_is_measured_here_with_its_samples(
    tmp_path: Path, tar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven = {"proof": {"fold_max_rel_error_f64": None, "max_abs_error": 0.0, "top1_agreement": 1.0, "images": 4}}
    path = measured.artifact(tmp_path / "made/a.onnx", metadata={"input": "uint8", **proven})
    bundle = bundled(tmp_path / ("b.tar.gz" if tar else "b"), path, tar=tar)
    listener = Heard()
    how = Measuring(out=tmp_path / "out", **QUICK)
    found = choose_from([bundle], Budget(latency_s=1.0), Wishes(), listener, measuring=how)
    assert best(found).endswith("models/a") and found.choice.chosen.accuracy.images == 9  # type: ignore[union-attr]
    assert (tmp_path / "out/bench-here.json").is_file()
    assert "measuring 1 files here, turn by turn" in listener.lines
    again = choose_from([bundle, tmp_path / "out"], Budget(latency_s=1.0), Wishes(), Silent(), measuring=how)
    assert best(again) == best(found) and not (tmp_path / "out/bench-here-2.json").exists()


def test_bare_artifacts_are_scored_on_validation_and_reported_on_test(tmp_path: Path) -> None:
    full(tmp_path / "made/a.onnx"), full(tmp_path / "made/b.onnx")
    wrong = full(tmp_path / "made/wrong.onnx", shift=3.0)
    other = full(tmp_path / "made/other.onnx", classes=("cat", "dog"))
    data = DataChoice(str(pictures(tmp_path / "data")))
    found = chosen(tmp_path / "made", ms=1000, how=Measuring(out=tmp_path / "out", **QUICK), data=data)
    assert {c.path.name for c in found.gathered.candidates} == {"a.onnx", "b.onnx"}
    assert found.choice.chosen.top1 == 1.0 and found.test is not None and found.test.top1 == 1.0  # type: ignore[union-attr]
    assert found.gathered.source.startswith("accuracy is what was scored now on 6 validation pictures of")
    told = "\n".join(found.gathered.left_out)
    assert "wrong answers" in told and other.stem in told and wrong.is_file()


def test_a_device_is_measured_on_now_with_a_bundle_made_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(tmp_path / "made/a.onnx"), full(tmp_path / "made/deep/a.onnx", weight="twin")
    full(tmp_path / "made/turned.onnx", classes=("blue", "green", "red"))
    bundles: list[Sequence[str]] = []

    def fleet(run: Any, devices: Any, tell: Any) -> list[Outcome]:
        bundles.append(sorted(p.name for p in (run.bundle / "models").iterdir()))
        run.out.mkdir(parents=True)
        tell(devices[0].name, "measuring", "a")
        path = run_bench(run.bundle, out=run.out / "pi.json", threads="1", verify_only=False, force=False, **QUICK)
        return [Outcome("pi", devices[0].host, "ok", path)]

    monkeypatch.setattr(measuring_module, "run_fleet", fleet)
    how = Measuring("me@pi", tmp_path / "out", **QUICK)
    with pytest.raises(DeviceError, match="a device takes bundles, and these lie in none; pass --data DATA"):
        chosen(tmp_path / "made", how=how)
    data = DataChoice(str(pictures(tmp_path / "data")))
    found = chosen(tmp_path / "made", ms=1000, how=how, data=data)
    assert sorted(bundles) == [["a.onnx"], ["a.onnx"], ["turned.onnx"]]  # two of one name share none
    assert len(found.gathered.candidates) == 3


def test_a_device_that_gives_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundled(tmp_path / "b", full(tmp_path / "a.onnx"))
    lost = Outcome("pi", "pi", "unreachable", None, "no route to host")
    monkeypatch.setattr(measuring_module, "run_fleet", lambda *_: [lost])
    with pytest.raises(DeviceError, match=r"pi gave no whole result \(unreachable\): no route to host"):
        chosen(bundle, how=Measuring("pi", tmp_path / "out"))


def test_an_archive_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgexfer.report.gather import gather

    bundle = bundled(tmp_path / "b", full(tmp_path / "a.onnx"), tar=True)
    found = gather([bundle])
    with tarfile.open(bundle, "w:gz"):
        pass
    with pytest.raises(DeviceError, match="changed while it was read; run the same command again"):
        measuring_module.paths_of(found, tmp_path / "place")
    with pytest.raises(DeviceError, match="there is no artifact to measure"):
        measuring_module.measure([], Measuring(), Silent())
