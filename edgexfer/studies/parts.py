"""What the studies of transfer pretrain on, and what they transfer to: parts of a data set, and something unlike it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from edgexfer.data import Splits, View, load_splits
from edgexfer.data.arrays import array_pool
from edgexfer.data.assemble import Options, assemble
from edgexfer.data.views import fingerprint
from edgexfer.workflows.data import spread_sample, take

FEWEST_TO_HALVE = 4
"""Classes from which half of them can be set apart to pretrain on."""
OTHER_CLASSES, SAME_CLASSES = "other classes of the same data", "other pictures of the same classes"
PATCH, STRIDE, STRIPS = 32, 16, 5
LOOKED_AT = 8


@dataclasses.dataclass(frozen=True)
class Parts:
    """A data set cut in two.

    Attributes:
        source: What is pretrained on.
        target: What is transferred to.
        words: How the two differ, for a person.
    """

    source: Splits
    target: Splits
    words: str


def halves(splits: Splits, seed: int) -> Parts:
    """Half of the classes to pretrain on, the others to transfer to, drawn by the seed.

    Fewer than four classes cannot be halved: then both parts have all of them, and half of the pictures each.
    """
    rng = np.random.default_rng(seed)
    count = len(splits.classes)
    if count < FEWEST_TO_HALVE:
        order = rng.permutation(len(splits.train))
        middle = len(order) // 2
        first, second = (np.sort(part) for part in (order[:middle], order[middle:]))
        source = dataclasses.replace(splits, train=take(splits.train, first))
        target = dataclasses.replace(splits, train=take(splits.train, second))
        return Parts(renewed(source), renewed(target), SAME_CLASSES)
    drawn = rng.permutation(count)
    parts = [with_classes(splits, sorted(part.tolist())) for part in (drawn[: count // 2], drawn[count // 2 :])]
    return Parts(parts[0], parts[1], OTHER_CLASSES)


def with_classes(splits: Splits, wanted: Sequence[int]) -> Splits:
    """The splits with some of their classes, in the order given."""
    table = np.full(len(splits.classes), -1, dtype=np.int64)
    table[list(wanted)] = np.arange(len(wanted))

    def kept(view: View) -> View:
        part = take(view, np.flatnonzero(table[view.labels] >= 0))
        return dataclasses.replace(part, labels=table[part.labels])

    test = None if splits.test is None else kept(splits.test)
    classes = tuple(splits.classes[i] for i in wanted)
    return renewed(
        dataclasses.replace(splits, classes=classes, train=kept(splits.train), val=kept(splits.val), test=test)
    )


def at_most(splits: Splits, train: int, held: int, seed: int) -> Splits:
    """The splits with at most so many training and held-out pictures, drawn by the seed, even over the classes."""

    def drawn(view: View, most: int) -> View:
        if len(view) <= most:
            return view
        order = np.random.default_rng(seed).permutation(len(view))
        return spread_sample(take(view, order), most)

    test = None if splits.test is None else drawn(splits.test, held)
    return renewed(
        dataclasses.replace(splits, train=drawn(splits.train, train), val=drawn(splits.val, held), test=test)
    )


def held_split(splits: Splits) -> str:
    """Name of the split that figures are reported on: test where there is one, else validation."""
    return "val" if splits.test is None else "test"


def renewed(splits: Splits) -> Splits:
    """The splits with the fingerprint of what they hold now."""
    views = [view for view in (splits.train, splits.val, splits.test) if view is not None]
    return dataclasses.replace(splits, fingerprint=fingerprint(splits.classes, views))


def unlike(splits: Splits, seed: int) -> tuple[Splits, str]:
    """Pictures unlike those of ``splits``, which come with the installation, and what they are.

    Grey pictures get patches of two photographs, coloured ones the handwritten digits.
    """
    some = [np.asarray(splits.train.read(i)) for i in range(min(LOOKED_AT, len(splits.train)))]
    if all(
        (picture[..., 0] == picture[..., 1]).all() and (picture[..., 1] == picture[..., 2]).all() for picture in some
    ):
        return photo_patches(seed), "patches of two photographs"
    return load_splits("digits", seed=seed), "handwritten digits"


def photo_patches(seed: int) -> Splits:
    """Which photograph, and which fifth of its width, a patch of 32 x 32 pixels comes from: 10 classes.

    The photographs are scikit-learn's (a palace in China, a flower; CC BY). Patches overlap by half, so that validation
    flatters: they serve to pretrain, and for nothing else.
    """
    from sklearn.datasets import load_sample_images

    patches, labels = [], []
    for number, photo in enumerate(load_sample_images().images):
        height, width = photo.shape[:2]
        for top in range(0, height - PATCH + 1, STRIDE):
            for left in range(0, width - PATCH + 1, STRIDE):
                patches.append(photo[top : top + PATCH, left : left + PATCH])
                strip = min(STRIPS - 1, (left + PATCH // 2) * STRIPS // width)
                labels.append(number * STRIPS + strip)
    names = [f"{photo} {strip + 1}" for photo in ("china", "flower") for strip in range(STRIPS)]
    pool = array_pool(np.stack(patches).astype(np.uint8), labels, "patches")
    return assemble("patches of photographs", names, {"all": pool}, Options(seed), mirrors=True)
