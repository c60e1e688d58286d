from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgexfer.data.prepare import prepare_image, resized_size
from edgexfer.preprocessing import Preprocessing, square

Draw = Callable[..., Image.Image]


def test_against_the_rule_written_out(draw: Draw) -> None:
    image = draw(1, (301, 200))
    got = prepare_image(image, Preprocessing((60, 64), 70, "center", "bicubic"))
    scaled = image.resize((int(70 * 301 / 200), 70), Image.Resampling.BICUBIC)
    left, top = round((scaled.width - 64) / 2), round((70 - 60) / 2)
    assert np.array_equal(got, np.asarray(scaled.crop((left, top, left + 64, top + 60))))


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 50), (64, 32)), ((50, 100), (32, 64)), ((33, 33), (32, 32)), ((7, 3), (74, 32))]
)
def test_shorter_side(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_size(size, square(32)) == expected


def test_literal_values_of_a_small_picture() -> None:
    image = Image.fromarray(np.array([[0, 100], [200, 40]], dtype=np.uint8))
    got = prepare_image(image, Preprocessing((1, 1), None, "none"))
    assert got.tolist() == [[[85, 85, 85]]]
    same = prepare_image(image, square(2))
    assert same[..., 0].tolist() == [[0, 100], [200, 40]]


def test_no_resize_scales_straight_to_the_input(draw: Draw) -> None:
    image = draw(2, (50, 90))
    got = prepare_image(image, Preprocessing((20, 30), None, "none"))
    assert np.array_equal(got, np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR)))


def test_exif_is_applied_before_scaling(draw: Draw) -> None:
    image = draw(3, (50, 90))
    image.getexif()[0x0112] = 6
    upright = ImageOps.exif_transpose(image)
    assert np.array_equal(prepare_image(image, square(32)), prepare_image(upright, square(32)))


def test_floating_point_is_refused() -> None:
    with pytest.raises(ValueError, match="floating point pixels; save it with 8 bits"):
        prepare_image(Image.new("F", (4, 4)), square(32))
