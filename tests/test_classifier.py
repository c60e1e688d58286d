from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgexfer
from edgexfer.data import prepare_image
from edgexfer.errors import DeviceError
from edgexfer.preprocessing import Preprocessing
from tests.device import artifacts

CLASSES = ("red", "green", "blue", "crimson")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return artifacts.write(tmp_path / "tiny.onnx", CLASSES, size=(24, 24), resize=28)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 67, 3), dtype=np.uint8)


def test_file_image_and_pixels_give_the_oracles_answer(model: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    classifier = edgexfer.Classifier(model, threads=1)
    rule = Preprocessing.from_dict(artifacts.preprocessing((24, 24), 28))
    logits = artifacts.logits_of(prepare_image(Image.fromarray(pixels), rule)[None], 4)[0][0]
    expected = np.exp(logits) / np.exp(logits).sum()
    for picture in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(pixels), pixels):
        found = classifier(picture)
        assert found.label == CLASSES[int(np.argmax(expected))]
        assert list(found.probabilities) == list(CLASSES)
        np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-5)
        assert found.probability == max(found.probabilities.values())


@pytest.mark.parametrize("count", [0, 1, 33])
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_logits_of_many_pictures(tmp_path: Path, count: int, kind: str) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    classifier = edgexfer.Classifier(artifacts.write(tmp_path / "tiny.onnx", kind=kind))
    logits = classifier.logits(batch)
    assert logits.shape == (count, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, artifacts.logits_of(batch, 3)[0], atol=1e-4)


def test_other_pixels_are_refused(model: Path, pixels: np.ndarray) -> None:
    classifier = edgexfer.Classifier(model)
    with pytest.raises(DeviceError, match=r"takes uint8 \(N, \(24, 24, 3\)\)"):
        classifier.logits(pixels[None])
    with pytest.raises(DeviceError, match="the picture is float64"):
        classifier(pixels / 255)
    with pytest.raises(DeviceError, match="'none.jpg' cannot be read"):
        classifier("none.jpg")


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="not one of edgexfer"):
        edgexfer.Classifier(artifacts.write(tmp_path / "foreign.onnx", foreign=True))
    with pytest.raises(DeviceError, match="cannot read"):
        edgexfer.Classifier(tmp_path / "none.onnx")
