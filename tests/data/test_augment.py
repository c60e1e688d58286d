import numpy as np
import pytest
import torch
from PIL import Image

from edgexfer.data.augment import augment_batch, to_floats
from edgexfer.preprocessing import Preprocessing, square

SMALL = square(32)
LARGE = square(64)


def batch(
    pictures: list[np.ndarray], rule: Preprocessing, augment: str, *, mirrors: bool = True, epoch: int = 0
) -> np.ndarray:
    indices = np.arange(len(pictures))
    got = augment_batch(pictures, indices, rule, augment=augment, mirrors=mirrors, seed=1, epoch=epoch)
    assert got.dtype == torch.float32 and got.is_contiguous()
    assert got.shape == (len(pictures), 3, *rule.input_size)
    assert 0 <= float(got.min()) and float(got.max()) <= 1
    return got.numpy()


def ramp(height: int, width: int) -> np.ndarray:
    """Each pixel says where it is: red = row, green = column."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 2, columns * 2, np.full_like(rows, 9)], -1).astype(np.uint8)


def test_to_floats_divides_by_255_exactly() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert np.array_equal(
        to_floats(pixels).numpy()[0, 2], (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(16, 16)
    )


def test_none_is_the_middle() -> None:
    got = batch([ramp(40, 50)], Preprocessing((32, 32), 40), "none")
    assert np.array_equal(got[0, 0, :, 0] * 255 / 2, np.arange(4, 36))


@pytest.mark.parametrize(("augment", "reach"), [("light", 4), ("strong", 8)])
def test_small_pictures_shift_within_the_padding_and_mirror(augment: str, reach: int) -> None:
    from edgexfer.data.augment import _shifted
    from edgexfer.data.draws import uniforms

    shifts, mirrored = set(), 0
    for u in uniforms(0, 0, np.arange(2000), 16):
        cut = _shifted(ramp(32, 32), SMALL, u, augment == "strong", True)
        columns = cut[0, :, 1].astype(int) // 2
        mirrored += int(columns[15] > columns[16])
        row = int(cut[16, 0, 0]) // 2 - 16
        shifts.add(int(row))
        assert np.abs(np.diff(cut[:, 0, 0].astype(int))).max() <= 2  # reflected: no border of another colour
    assert shifts == set(range(-reach, reach + 1))
    assert 900 < mirrored < 1100


def test_small_window_reaches_all_of_a_long_picture() -> None:
    from edgexfer.data.augment import _window

    assert {int(_window(100, 32, 4, d)[16]) for d in np.linspace(0, 0.9999, 500)} == set(range(12, 89))
    assert _window(1, 8, 1, 0.3).tolist() == [0] * 8
    assert _window(4, 4, 1, 0.0).tolist() == [1, 0, 1, 2]
    assert _window(4, 4, 1, 0.99).tolist() == [1, 2, 3, 2]


def test_large_crops_keep_their_area_and_stay_inside() -> None:
    pictures = [ramp(73, 110)] * 300
    for augment, smallest in (("light", 0.35),):
        got = batch(pictures, LARGE, augment) * 255 / 2
        heights = got[:, 0].max((1, 2)) - got[:, 0].min((1, 2)) + 1
        widths = got[:, 1].max((1, 2)) - got[:, 1].min((1, 2)) + 1
        area = heights * widths / (73 * 110)
        assert area.min() > smallest * 0.85 and area.max() <= 1.02 and area.std() > 0.1
        left_to_right = got[:, 1, 0, -1] > got[:, 1, 0, 0]
        assert 110 < left_to_right.sum() < 190


def test_digits_are_never_mirrored_nor_moved_far() -> None:
    dot = np.zeros((32, 32, 3), np.uint8)
    dot[8:12, 20:24] = 255
    for augment, far in (("light", 6.0), ("strong", 12.0)):
        got = batch([dot] * 200, SMALL, augment, mirrors=False)[:, 0]
        where = np.array([np.argwhere(g >= 0.5 * g.max()).mean(0) for g in got if g.max() > 0.3])
        assert np.linalg.norm(where - [9.5, 21.5], axis=1).max() < far
        assert where.std(0).min() > 0.3
    large = batch([ramp(64, 64)] * 50, LARGE, "light", mirrors=False)
    assert (large[:, 1, 0, -1] > large[:, 1, 0, 0]).all()


def test_strong_changes_colours_and_erases() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (64, 64, 3), dtype=np.uint8)
    strong = batch([noise] * 60, LARGE, "strong")
    assert strong.mean((2, 3)).std(0).min() > 0.03
    flat = [(np.diff(s[0], axis=1) == 0).mean() for s in strong]
    assert 15 <= sum(f > 0.01 for f in flat) <= 45


def test_another_epoch_another_picture_another_seed() -> None:
    pictures = [ramp(73, 110)] * 2
    first = batch(pictures, LARGE, "light")
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, batch(pictures, LARGE, "light", epoch=1))
    assert np.array_equal(first, batch(pictures, LARGE, "light"))


@pytest.mark.parametrize("augment", ["none", "light", "strong"])
@pytest.mark.parametrize("mirrors", [True, False])
@pytest.mark.parametrize(
    "rule",
    [
        square(1),
        square(5),
        SMALL,
        LARGE,
        Preprocessing((48, 80), None, "none"),
        Preprocessing((70, 64), 80, "center", "bicubic"),
    ],
)
def test_every_shape_goes_through(augment: str, mirrors: bool, rule: Preprocessing) -> None:
    sides = [(rule.resize or 0, 3 * (rule.resize or 0)), ((rule.resize or 0) + 1, rule.resize or 0)]
    shapes = sides if rule.resize else [rule.input_size] * 2
    rng = np.random.default_rng(0)
    batch([rng.integers(0, 256, (*s, 3), dtype=np.uint8) for s in shapes], rule, augment, mirrors=mirrors)


def test_looks_right_to_the_eye_of_pillow() -> None:
    """A crop of everything, unmirrored, is Pillow's plain resize."""
    from edgexfer.data.augment import _cropped

    picture = np.random.default_rng(0).integers(0, 256, (73, 73, 3), dtype=np.uint8)
    got = _cropped(picture, LARGE, np.array([1.0, 0.5, 0.5, 0.5, 0.9]), False, True)
    assert np.array_equal(got, np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR)))


def test_colour_jitter_against_its_steps_in_float64() -> None:
    from edgexfer.data.augment import _jittered

    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.6, (5, 3, 9, 7)).astype(np.float32)
    draws = rng.uniform(0, 1, (5, 3))
    got = _jittered(torch.from_numpy(x.copy()), draws).numpy()
    weights = np.array([0.299, 0.587, 0.114])
    for one, (b, c, s), ours in zip(x.astype(np.float64), 0.6 + 0.8 * draws, got, strict=True):
        bright = one * b
        mean = np.tensordot(weights, bright, 1).mean()
        contrasted = mean + (bright - mean) * c
        grey = np.tensordot(weights, contrasted, 1)
        expected = np.clip(grey + (contrasted - grey) * s, 0, 1)
        assert np.abs(ours - expected).max() < 1e-6
    assert np.abs(_jittered(torch.from_numpy(x.copy()), np.full((5, 3), 0.5)).numpy() - x).max() < 1e-6
