from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgexfer import device
from tests.device import artifacts
from tests.device.device_kit import COLOURS, Script, painted


def test_classes_of_ones_own_are_learned_and_predicted(bundle: Path, photos: Path, run_script: Script) -> None:
    (photos / "grey/broken.png").write_bytes(b"no picture")
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["accuracy"], told["held_out"], told["images"]) == (1.0, 4, 20)
    assert "accuracy 100.0% on 4 held-out pictures" in done.stderr
    assert "left out: " in done.stderr and len(told["skipped"]) == 1
    with np.load(bundle / "head.npz", allow_pickle=False) as head:
        assert {"W", "b", "classes", "artifact_sha256", "embedding_dim", "format"} <= set(head)
        assert head["W"].shape == (6, 2) and head["b"].shape == (2,) and int(head["embedding_dim"]) == 6
        assert list(head["classes"]) == ["grey", "yellow"]
    done = run_script(bundle / "predict.py", photos / "yellow", "--head", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["label"] for line in done.stdout.splitlines()} == {"yellow"}


def test_extending_keeps_the_models_own_classes(bundle: Path, photos: Path, run_script: Script, tmp_path: Path) -> None:
    shutil.rmtree(photos / "grey")
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", "--extend", cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == ["red", "green", "blue", "yellow"]
    painted(COLOURS["green"], seed=99).save(tmp_path / "green.png")
    words = (tmp_path / "green.png", photos / "yellow/0.png", "--head", "head.npz")
    done = run_script(bundle / "predict.py", *words, cwd=bundle)
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["green", "yellow"]


def test_what_was_held_out_is_told_with_its_interval_and_by_class(
    bundle: Path, photos: Path, run_script: Script
) -> None:
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    told = json.loads(done.stdout)
    assert told["per_class"] == {"grey": {"right": 2, "held_out": 2}, "yellow": {"right": 2, "held_out": 2}}
    assert told["accuracy_low"] == pytest.approx(0.5101, abs=1e-4)  # Wilson, 4 of 4
    assert "(95% interval 51.0% to 100.0%)" in done.stderr
    assert set(told["seconds"]) == {"pictures", "head"}


def test_both_solvers_and_a_given_penalty(bundle: Path, photos: Path, run_script: Script) -> None:
    layers = []
    for solver, words in (("full", []), ("minibatch", ["--iterations", "3000", "--batch", "8"])):
        words = ["--solver", solver, "--l2", "0.1", "--refit", "--force", *words]
        done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", *words, cwd=bundle)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["l2"], told["solver"], told["accuracy"]) == (0.1, solver, 1.0)
        with np.load(bundle / "head.npz") as head:
            layers.append((head["W"], head["b"], head["golden_logits"]))
    np.testing.assert_allclose(layers[0][2], layers[1][2], atol=0.15)  # the same minimum, up to gradient noise
    assert not np.array_equal(layers[0][0], layers[1][0])


def test_embeddings_are_computed_once_and_unchanged_files_not_even_read(
    bundle: Path, photos: Path, run_script: Script
) -> None:
    words = ("--data", photos, "--force", "--cache", bundle / "kept")
    first = run_script(bundle / "adapt.py", *words, "--out", "a.npz", cwd=bundle)
    assert first.returncode == 0, first.stderr
    (store,) = (bundle / "kept").glob("*.embeddings")
    names = bundle / "kept/pictures.jsonl"
    before = store.read_bytes(), names.read_bytes()
    second = run_script(bundle / "adapt.py", *words, "--out", "b.npz", cwd=bundle)
    assert second.returncode == 0, second.stderr
    assert (store.read_bytes(), names.read_bytes()) == before
    assert (bundle / "a.npz").read_bytes() == (bundle / "b.npz").read_bytes()
    shutil.copy(photos / "grey/1.png", photos / "grey/0.png")  # other content, which is known too
    painted((90, 90, 95), seed=77).save(photos / "grey/2.png")
    third = run_script(bundle / "adapt.py", *words, "--out", "c.npz", cwd=bundle)
    assert json.loads(third.stdout)["images"] == 19
    assert len(store.read_bytes()) - len(before[0]) == 32 + 256 + 4 + 4 * 6
    assert len(names.read_text().splitlines()) == 22


def test_a_torn_or_damaged_store_costs_only_what_is_damaged(bundle: Path, photos: Path, run_script: Script) -> None:
    words = ("--data", photos, "--force", "--out", "head.npz")
    run_script(bundle / "adapt.py", *words, cwd=bundle)
    (store,) = (bundle / "edgexfer-cache").glob("*.embeddings")
    whole, head = store.read_bytes(), (bundle / "head.npz").read_bytes()
    damaged = bytearray(whole[:-100])  # a power cut in the last record
    damaged[4096 + 32 + 256 + 4] ^= 1  # and a bit of the first one
    store.write_bytes(damaged)
    with (bundle / "edgexfer-cache/pictures.jsonl").open("a") as stream:
        stream.write('["torn')
    done = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert len(store.read_bytes()) == len(whole) + 316, "two records made again, one of them in the place of the torn"
    assert (bundle / "head.npz").read_bytes() == head
    store.write_bytes(b"something else")
    done = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert "beginning anew" in done.stderr and store.read_bytes() == whole
    assert (bundle / "head.npz").read_bytes() == head


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(
    bundle: Path, photos: Path, run_script: Script, tmp_path: Path
) -> None:
    for i in range(10, 400):
        painted((90, 90 + i % 7, 90), seed=i).save(photos / f"grey/{i}.png")
    words = ["--data", str(photos), "--l2", "0.01", "--threads", "1"]
    command = [sys.executable, str(bundle / "adapt.py"), *words, "--out", str(bundle / "killed.npz")]
    kept = 0
    for _ in range(2):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and size_of(bundle / "edgexfer-cache") < kept + 4096 + 60 * 316:
            time.sleep(0.001)
        child.kill()
        child.wait()
        assert not (bundle / "killed.npz").exists() and not list(bundle.glob(".killed*"))
        kept = size_of(bundle / "edgexfer-cache")
    done = run_script(bundle / "adapt.py", *words, "--out", "killed.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert size_of(bundle / "edgexfer-cache") == 4096 + 410 * 316
    done = run_script(bundle / "adapt.py", *words, "--out", "whole.npz", "--cache", tmp_path / "other", cwd=bundle)
    assert (bundle / "killed.npz").read_bytes() == (bundle / "whole.npz").read_bytes()


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.embeddings"))


def test_a_class_is_added_to_a_head_and_the_old_ones_stay(bundle: Path, photos: Path, run_script: Script) -> None:
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "two.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    for name in ("grey", "yellow"):
        (photos / name).rename(photos.parent / name)
    (photos / "violet").mkdir()
    for i in range(10):
        painted((160, 30, 160), seed=i).save(photos / f"violet/{i}.png")
    words = ("--data", photos, "--extend", "two.npz", "--out", "three.npz")
    done = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["classes"], told["images"], told["held_out"]) == (["grey", "yellow", "violet"], 30, 6)
    with np.load(bundle / "two.npz") as two, np.load(bundle / "three.npz") as three:
        np.testing.assert_array_equal(three["example_held"][:20], two["example_held"])
    pictures = [photos.parent / "grey/3.png", photos.parent / "yellow/3.png", photos / "violet/3.png"]
    done = run_script(bundle / "predict.py", *pictures, "--head", "three.npz", cwd=bundle)
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["grey", "yellow", "violet"]
    shutil.rmtree(bundle / "edgexfer-cache")
    done = run_script(bundle / "adapt.py", *words, "--force", cwd=bundle)
    assert done.returncode == 1
    assert "20 of the 20 embeddings that 'two.npz' was learned on are not in" in done.stderr
    with np.load(bundle / "two.npz") as two:
        np.savez(bundle / "bare.npz", **{k: v for k, v in two.items() if not k.startswith("example")})
    done = run_script(bundle / "adapt.py", "--data", photos, "--extend", "bare.npz", "--out", "x.npz", cwd=bundle)
    assert done.returncode == 1 and "does not say what it was learned on" in done.stderr


def test_a_folder_of_another_system_is_the_same_class(bundle: Path, photos: Path, run_script: Script) -> None:
    (photos / "grey").rename(photos / "cafe\u0301")  # as macOS writes it
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["per_class"]) == {"caf\u00e9", "yellow"}
    shutil.copytree(photos / "cafe\u0301", photos / "caf\u00e9")
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "two.npz", cwd=bundle)
    assert done.returncode == 1 and "holds two folders of the class 'caf\u00e9'" in done.stderr


def test_one_picture_in_two_classes_is_left_out(bundle: Path, photos: Path, run_script: Script) -> None:
    shutil.copy(photos / "grey/0.png", photos / "yellow/again.png")
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert "the same picture lies in 'grey' and 'yellow'" in done.stderr
    told = json.loads(done.stdout)
    assert told["images"] == 19 and len(told["skipped"]) == 2


def test_the_hardest_classes_are_named(bundle: Path, photos: Path, run_script: Script) -> None:
    (photos / "dull").mkdir()
    for i in range(10):
        painted((90, 90, 90), seed=100 + i).save(photos / f"dull/{i}.png")  # as grey as the grey ones
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hardest: ")]
    assert ("grey" in line or "dull" in line) and "yellow" not in line


def test_bursts_stay_on_one_side(bundle: Path, photos: Path, run_script: Script) -> None:
    for path in photos.rglob("*.png"):
        path.rename(path.with_name(f"burst{int(path.stem) // 5}_{path.name}"))
    words = ("--data", photos, "--out", "head.npz", "--group-by", "([a-z]+/burst[0-9]+)_")
    done = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert done.returncode == 0, done.stderr
    with np.load(bundle / "head.npz") as head:
        groups, held = head["example_groups"], head["example_held"]
    assert [len(set(held[groups == g])) for g in set(groups)] == [1, 1, 1, 1]
    assert json.loads(done.stdout)["held_out"] == 10


def test_a_class_of_one_group_holds_out_nothing(bundle: Path, photos: Path, run_script: Script) -> None:
    words = ("--data", photos, "--out", "head.npz", "--group-by", "grey")
    done = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert "nothing could be held out of grey: one picture, or all of one group" in done.stderr
    assert json.loads(done.stdout)["per_class"]["grey"]["held_out"] == 0


def test_two_at_once_are_refused(bundle: Path, photos: Path, run_script: Script) -> None:
    embeddings = device.load("_edgexfer_embeddings")
    sha256 = hashlib.sha256((bundle / "models/tiny.onnx").read_bytes()).hexdigest()
    maker = f"onnxruntime {onnxruntime.__version__} on {platform.machine()}"
    store = embeddings.Store(str(bundle / "edgexfer-cache"), sha256, 6, maker)
    try:
        done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    finally:
        store.close()
    assert done.returncode == 1
    assert "another adapt.py is using" in done.stderr


def test_a_head_of_another_model_is_refused(bundle: Path, photos: Path, run_script: Script, tmp_path: Path) -> None:
    other = artifacts.write(tmp_path / "other.onnx", classes=("a", "b"))
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", "--model", other, cwd=bundle)
    assert done.returncode == 0, done.stderr
    done = run_script(bundle / "predict.py", photos, "--head", "head.npz", cwd=bundle)
    assert done.returncode == 1
    assert "the head 'head.npz' was learned on another model" in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read the head"), (b"no archive", "is damaged"), ({"format": 2}, "has format 2")],
)
def test_a_head_that_cannot_be_read_is_refused(
    bundle: Path, photos: Path, run_script: Script, content: object, says: str
) -> None:
    if isinstance(content, bytes):
        (bundle / "head.npz").write_bytes(content)
    elif isinstance(content, dict):
        np.savez(bundle / "head.npz", **content)
    done = run_script(bundle / "predict.py", photos, "--head", "head.npz", cwd=bundle)
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("remove", "words", "says"),
    [
        ("grey", [], "only one class, 'yellow'; add a folder of pictures of something else, or pass --extend"),
        ("", ["--model", "../lone.onnx", "--extend"], "lies in no bundle with samples"),
        ("", ["--data", "nowhere"], "there is no folder 'nowhere'"),
        ("", ["--data", "models"], "holds no class folders"),
        ("", ["--out", "README.txt"], "exists already"),
        ("", ["--group-by", "("], "--group-by '(' is no regular expression"),
        ("", ["--group-by", "burst"], "--group-by 'burst' is found in none of the 20 names, such as 'grey/0.png'"),
        ("", ["--extend", "bundle.json"], "the head 'bundle.json' is damaged"),
        ("", ["--cache", "bundle.json"], "cannot write"),
        ("", ["--data", "kinds"], "'kinds/text' holds no pictures; expected files such as .jpg or .png"),
        ("", ["--data", "wrong"], "not one readable picture of b; add some, or remove the folder"),
    ],
)
def test_what_cannot_be_learned_from_is_said(
    bundle: Path, photos: Path, run_script: Script, remove: str, words: list[str], says: str
) -> None:
    artifacts.write(bundle.parent / "lone.onnx")
    (bundle / "kinds/text").mkdir(parents=True)
    (bundle / "kinds/text/notes.txt").write_text("no picture")
    (bundle / "wrong/b").mkdir(parents=True)
    (bundle / "wrong/b/x.png").write_text("no picture")
    shutil.copytree(photos / "yellow", bundle / "wrong/a")
    if remove:
        shutil.rmtree(photos / remove)
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", *words, cwd=bundle)
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr
    assert not (bundle / "head.npz").exists()


@pytest.mark.parametrize(
    "words", [["--l2", "0"], ["--l2", "most"], ["--batch", "0"], ["--threads", "x"], ["--seed", "-1"]]
)
def test_odd_options_are_refused(bundle: Path, run_script: Script, words: list[str]) -> None:
    done = run_script(bundle / "adapt.py", "--data", "x", "--out", "y", *words)
    assert done.returncode == 2
    assert "is not a number" in done.stderr
