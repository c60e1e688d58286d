import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from edgexfer.data.groups import Grouping, group_pictures, near_duplicates
from edgexfer.data.index import look_at
from edgexfer.errors import DataError

Draw = Callable[..., Image.Image]


def content(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def group(contents: list[bytes], group_by: Any = None, files: list[str] | None = None) -> Grouping:
    entries = [look_at(c) for c in contents]
    thumbs = np.frombuffer(b"".join(e.thumb for e in entries), np.uint8).reshape(-1, 16, 16)
    sides = np.array([min(e.size) for e in entries])
    return group_pictures([e.digest for e in entries], thumbs, sides, files or ["x"] * len(entries), group_by)


@pytest.mark.parametrize("change", ["jpeg", "half", "brighter", "webp"])
def test_changed_copies_stay_together(draw: Draw, change: str) -> None:
    originals = [draw(i, (160, 120)) for i in range(12)]

    def changed(image: Image.Image) -> bytes:
        if change == "jpeg":
            return content(image, "JPEG", quality=40)
        if change == "half":
            return content(image.resize((80, 60)), "PNG")
        if change == "brighter":
            return content(ImageEnhance.Brightness(image).enhance(1.1), "PNG")
        return content(image, "WEBP", quality=60)

    groups = group([content(i) for i in originals] + [changed(i) for i in originals]).groups
    assert groups[:12].tolist() == list(range(12)) == groups[12:].tolist()


def test_different_pictures_stay_apart(draw: Draw) -> None:
    assert len(set(group([content(draw(i)) for i in range(100)]).groups)) == 100


def test_exact_copies_stay_together_even_if_plain() -> None:
    white, black = content(Image.new("L", (30, 30), 255)), content(Image.new("L", (30, 30)))
    grey = content(Image.new("L", (30, 30), 128))
    assert group([white, black, white, grey]).groups.tolist() == [0, 1, 0, 2]


def test_tiny_strokes_are_not_copies_of_one_another() -> None:
    rng = np.random.default_rng(0)
    strokes = []
    for _ in range(30):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[1:7, 3] = rng.integers(120, 256, 6)
        pixels[1:7, 4] = rng.integers(0, 256, 6)
        strokes.append(content(Image.fromarray(pixels)))
    assert len(set(group(strokes).groups)) == 30


def test_no_pair_is_missed_against_brute_force() -> None:
    rng = np.random.default_rng(3)
    base = rng.integers(0, 256, (150, 16, 16))
    near = np.clip(base + rng.normal(0, 7, base.shape) * rng.uniform(0.2, 2, (150, 1, 1)), 0, 255)
    thumbs = np.concatenate([base, near, np.full((20, 16, 16), 9)]).astype(np.uint8)
    limits = np.where(np.arange(320) % 3 == 0, 0.1, 0.15).astype(np.float32)
    found = {
        tuple(sorted(p)) for a, b in near_duplicates(thumbs, limits) for p in zip(a.tolist(), b.tolist(), strict=True)
    }
    flat = thumbs.reshape(320, -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1)
    unit = flat / np.maximum(norms, 1e-9)[:, None]
    expected = {
        (i, j)
        for i in range(300)
        for j in range(i + 1, 300)
        if np.linalg.norm(unit[i] - unit[j]) <= min(limits[i], limits[j])
    }
    assert len(expected) > 50
    assert found == expected


def test_a_fixed_camera_falls_back_to_copies(draw: Draw) -> None:
    scene = np.asarray(draw(1, (64, 64))).astype(int)
    rng = np.random.default_rng(0)
    frames = [
        content(Image.fromarray((scene + rng.integers(-2, 3, scene.shape)).clip(0, 255).astype(np.uint8)))
        for _ in range(40)
    ]
    grouping = group([*frames, frames[0]])
    assert grouping.alike
    assert len(set(grouping.groups)) == 40 and grouping.groups[40] == grouping.groups[0]


def test_group_by_pattern_and_function(draw: Draw) -> None:
    files = ["a/p1_1.png", "a/p1_2.png", "a/p2_1.png", "b/p1_3.png", "b/other.png", "b/another.png"]
    contents = [content(draw(i)) for i in range(6)]
    expected = [0, 0, 2, 0, 4, 5]
    assert group(contents, r"(p\d+)_", files).groups.tolist() == expected
    assert group(contents, r"p\d+", files).groups.tolist() == expected
    assert group(contents, lambda name: name.split("/")[0], files).groups.tolist() == [0, 0, 0, 3, 3, 3]


def test_group_by_mistakes(draw: Draw) -> None:
    with pytest.raises(DataError, match=r"group_by '\(' is not a regular expression: .*for example"):
        group([content(draw(1))], "(", ["a.png"])
    with pytest.raises(DataError, match="found in none of the 1 file names, such as 'a.png'"):
        group([content(draw(1))], "patient", ["a.png"])


def test_one_picture_and_none() -> None:
    assert group([content(Image.new("L", (9, 9)))]).groups.tolist() == [0]
    empty = np.zeros((0, 16, 16), np.uint8)
    assert list(near_duplicates(empty, np.zeros(0, np.float32))) == []
