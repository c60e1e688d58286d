from __future__ import annotations

import json
import shutil
from pathlib import Path

import artifacts
import numpy as np
import pytest
from conftest import COLOURS, Script, painted
from sklearn.linear_model import LogisticRegression

from edgexfer import device

regression = device.load("_edgexfer_regression")


def test_classes_of_ones_own_are_learned_and_predicted(bundle: Path, photos: Path, run_script: Script) -> None:
    (photos / "grey/broken.png").write_bytes(b"no picture")
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["accuracy"], told["held_out"], told["images"]) == (1.0, 4, 20)
    assert "accuracy 100.0% on 4 held-out pictures" in done.stderr
    assert "left out: " in done.stderr and len(told["skipped"]) == 1
    with np.load(bundle / "head.npz", allow_pickle=False) as head:
        assert set(head) == {"W", "b", "classes", "artifact_sha256", "embedding_dim", "format"}
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


def test_embeddings_are_computed_once(bundle: Path, photos: Path, run_script: Script) -> None:
    words = ("--data", photos, "--out", "head.npz", "--force")
    first = run_script(bundle / "adapt.py", *words, cwd=bundle)
    before = (bundle / "head.npz").read_bytes()
    with np.load(bundle / "head.embeddings.npz") as cache:
        kept = dict(cache)
    kept["embeddings"] = np.random.default_rng(0).normal(size=kept["embeddings"].shape).astype(np.float32)
    np.savez(bundle / "head.embeddings.npz", **kept)
    second = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert first.returncode == second.returncode == 0, second.stderr
    assert (bundle / "head.npz").read_bytes() != before, "the kept embeddings were not used"
    (bundle / "head.embeddings.npz").write_bytes(b"damaged")
    third = run_script(bundle / "adapt.py", *words, cwd=bundle)
    assert third.returncode == 0, third.stderr
    with np.load(bundle / "head.npz") as again:
        assert np.isfinite(again["W"]).all()


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
    ],
)
def test_what_cannot_be_learned_from_is_said(
    bundle: Path, photos: Path, run_script: Script, remove: str, words: list[str], says: str
) -> None:
    artifacts.write(bundle.parent / "lone.onnx")
    if remove:
        shutil.rmtree(photos / remove)
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", *words, cwd=bundle)
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr
    assert not (bundle / "head.npz").exists()


@pytest.mark.parametrize("classes", [2, 4])
def test_the_regression_is_scikit_learns(classes: int) -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(120) % classes
    x = generator.normal(size=(120, 7)) * [1, 5, 0.1, 1, 1, 1, 1] + labels[:, None] * [0.5, 1, 0, 0, -0.3, 0, 0] + 3
    x[:, 6] = 2.5
    w, b = regression.fit(x, labels, classes, 0.02)
    std = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    scaled = (x - x.mean(axis=0)) / std
    theirs = LogisticRegression(C=1 / (0.02 * 120), tol=1e-10, max_iter=10_000)
    theirs.fit(scaled, labels)
    ours = np.exp(x @ w + b)
    if classes > 2:  # with two, scikit-learn shrinks one weight vector where we shrink two
        np.testing.assert_allclose(ours / ours.sum(axis=1, keepdims=True), theirs.predict_proba(scaled), atol=1e-4)
    assert np.mean(np.argmax(ours, axis=1) == theirs.predict(scaled)) > 0.99


def test_the_split_holds_out_a_fifth_of_each_class() -> None:
    labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    learn, score = regression.split(labels, 0.2, seed=1)
    assert sorted([*learn, *score]) == list(range(63))
    assert np.bincount(labels[score], minlength=4).tolist() == [10, 2, 1, 0]
    np.testing.assert_array_equal(score, regression.split(labels, 0.2, seed=1)[1])
    assert score.tolist() != regression.split(labels, 0.2, seed=2)[1].tolist()
