"""From pools of known pictures to ``Splits``: what every source of pictures has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.data.assign import TEST, TRAIN, VAL, assign_splits, check_fractions
from edgexfer.data.groups import GroupBy, Grouping, group_pictures, rule_keys
from edgexfer.data.index import THUMB
from edgexfer.data.names import listing
from edgexfer.data.views import Splits, View, fingerprint
from edgexfer.errors import DataError
from edgexfer.words import counted


@dataclass(frozen=True)
class Options:
    """How a data set is split, and what is forgiven."""

    seed: int = 0
    val_split: float = 0.15
    test_split: float = 0.15
    group_by: GroupBy | None = None
    strict: bool = False


@dataclass(frozen=True)
class Picture:
    """One usable picture.

    Attributes:
        name: Relative name, for messages.
        where: What its reader finds it by.
        label: Position of its class.
        digest: Content digest.
        thumb: 16 x 16 bytes of grey.
        size: Upright ``(H, W)``.
    """

    name: str
    where: str | int
    label: int
    digest: str
    thumb: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class Pool:
    """Pictures that came together: a split of the source, or all of it.

    Attributes:
        pictures: The usable ones, in order.
        skipped: ``(file, reason)`` of the others.
        reader: Makes the function that reads some of the pictures.
        notes: Sentences for the log.
    """

    pictures: tuple[Picture, ...]
    skipped: tuple[tuple[str, str], ...]
    reader: Callable[[Sequence[Picture]], Callable[[int], Image.Image]]
    notes: tuple[str, ...] = ()

    def view(self, name: str, chosen: Sequence[int], groups: NDArray[np.int64] | None = None) -> View:
        """The view of some of the pictures; ``groups`` are those of the pool."""
        pictures = [self.pictures[i] for i in chosen]
        labels = np.array([p.label for p in pictures], dtype=np.int64)
        files, digests = tuple(p.name for p in pictures), tuple(p.digest for p in pictures)
        tie = None if groups is None else partial(_numbered_anew, groups[list(chosen)])
        return View(name, files, labels, self.reader(pictures), digests, self.skipped if name == "all" else (), tie)


def assemble(
    source: str,
    classes: Sequence[str],
    pools: Mapping[str, Pool],
    options: Options,
    *,
    mirrors: bool,
    notes: Sequence[str] = (),
) -> Splits:
    """Makes ``Splits`` of ``{"all": pool}``, or of ``{"train": pool}`` with val and test where the source has them.

    Raises:
        DataError: Something was skipped under ``strict``, a class has no usable picture, or there are too few.
    """
    skipped = tuple(item for pool in pools.values() for item in pool.skipped)
    if options.strict:
        refuse_skipped(source, skipped)
    said = [*notes, *(note for pool in pools.values() for note in pool.notes)]
    main = pools["all" if "all" in pools else "train"]
    _check_classes(source, classes, main)
    train, val, test = _views(source, classes, pools, options, said)
    if test is None:
        said.append("no test split: validation is all there is, and scores on it are a little too good")
    said.extend(_leaks(pools))
    said.extend(_gaps(classes, pools))
    sizes = np.array([p.size for p in main.pictures])
    views = [train, val, *([test] if test is not None else [])]
    return Splits(
        source=source,
        classes=tuple(classes),
        train=train,
        val=val,
        test=test,
        image_size=(int(np.median(sizes[:, 0])), int(np.median(sizes[:, 1]))),
        fingerprint=fingerprint(classes, views),
        mirrors=mirrors,
        skipped=skipped,
        notes=tuple(said),
    )


def refuse_skipped(source: str, skipped: Sequence[tuple[str, str]]) -> None:
    """What ``strict`` asks for.

    Raises:
        DataError: Something was skipped; lists it with the reasons.
    """
    if skipped:
        listed = "; ".join(f"{name!r} {reason}" for name, reason in skipped[:20])
        more = f"; and {len(skipped) - 20} more" if len(skipped) > 20 else ""
        raise DataError(f"{source!r}: {len(skipped)} pictures cannot be used and strict is on: {listed}{more}")


def pool_thumbs(pool: Pool) -> NDArray[np.uint8]:
    """Thumbnails of a pool's pictures, ``(N, 16, 16)``."""
    joined = b"".join(p.thumb for p in pool.pictures)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, THUMB, THUMB)


@dataclass(frozen=True)
class _Looks:
    """What groups are found by, and no more of a pool."""

    digests: tuple[str, ...]
    thumbs: NDArray[np.uint8]
    shorter: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, pool: Pool) -> _Looks:
        shorter = np.array([min(p.size) for p in pool.pictures], dtype=np.int64)
        digests, names = (p.digest for p in pool.pictures), (p.name for p in pool.pictures)
        return cls(tuple(digests), pool_thumbs(pool), shorter, tuple(names))

    def grouped(self, options: Options) -> Grouping:
        return group_pictures(self.digests, self.thumbs, self.shorter, self.names, options.group_by)


def _numbered_anew(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same groups by numbers from 0, without gaps."""
    return np.unique(groups, return_inverse=True)[1]


def _views(
    source: str, classes: Sequence[str], pools: Mapping[str, Pool], options: Options, said: list[str]
) -> tuple[View, View, View | None]:
    """Train, val and test: as the source has them, else cut from what there is to train on."""
    test = _given(pools, "test")
    val = _given(pools, "val")
    if val is not None:
        if options.group_by is not None:
            said.append("the source brings its own splits: group_by only ties training pictures to one another")
        return _tied(pools["train"], options), val, test
    flat = "all" in pools
    check_fractions(options.val_split, options.test_split if flat else 0.0)
    pool = pools["all" if flat else "train"]
    sides, groups = _cut(source, classes, pool, options, options.test_split if flat else 0.0, said)
    train, val = (
        pool.view(name, np.flatnonzero(sides == side).tolist(), groups)
        for name, side in (("train", TRAIN), ("val", VAL))
    )
    if flat and (sides == TEST).any():
        test = pool.view("test", np.flatnonzero(sides == TEST).tolist(), groups)
    if not flat:
        said.append(f"no val split: {len(val)} of {len(sides)} training pictures are set apart for it")
    return train, val, test


def _tied(pool: Pool, options: Options) -> View:
    """The source's own training pictures; their groups are found when they are asked for, which few things do.

    Raises:
        DataError: ``group_by`` is not a valid regular expression, or finds nothing.
    """
    look = _Looks.of(pool)
    if options.group_by is not None:
        rule_keys(options.group_by, look.names)
    view = pool.view("train", range(len(pool.pictures)))
    return replace(view, tie=lambda: _numbered_anew(look.grouped(options).groups))


def _given(pools: Mapping[str, Pool], name: str) -> View | None:
    pool = pools.get(name)
    return pool.view(name, range(len(pool.pictures))) if pool is not None and pool.pictures else None


def _cut(
    source: str, classes: Sequence[str], pool: Pool, options: Options, test_split: float, said: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which side each picture of a pool goes to, and its group."""
    digests = [p.digest for p in pool.pictures]
    labels = np.array([p.label for p in pool.pictures], dtype=np.int64)
    grouping = _Looks.of(pool).grouped(options)
    groups = grouping.groups
    sides = assign_splits(
        labels, digests, groups, seed=options.seed, val_split=options.val_split, test_split=test_split
    )
    if not (sides == VAL).any():
        raise DataError(_too_few(source, len(sides), len(np.unique(groups)), len(classes)))
    together = len(groups) - len(np.unique(groups))
    if together:
        kept = f"{counted(together, 'picture')} {'is' if together == 1 else 'are'} kept on the side of another one"
        said.append(f"{kept} (same content, look, or group)")
    if grouping.alike:
        said.append(
            "the pictures look so alike (a fixed camera?) that near-duplicates cannot be told from others; if some"
            " belong together, say so with --group-by"
        )
    said.extend(_label_conflicts(pool))
    for name, side in (("val", VAL), ("test", TEST)):
        held = set(labels[sides == side].tolist())
        missing = [known for label, known in enumerate(classes) if label not in held]
        if held and missing:
            said.append(f"classes with too few different pictures for a place in {name}: {listing(missing)}")
    return sides, groups


def _too_few(source: str, pictures: int, groups: int, classes: int) -> str:
    if groups < pictures:
        return (
            f"{source!r}: its {pictures} pictures in {classes} classes make only {groups} groups that are not copies of"
            " one another (or are tied by group_by), too few to validate on; add different pictures"
        )
    return (
        f"{source!r}: {pictures} pictures in {classes} classes are too few; at least one class needs two, one to train"
        " on and one to validate on; some 20 a class are a start"
    )


def _check_classes(source: str, classes: Sequence[str], pool: Pool) -> None:
    have = {p.label for p in pool.pictures}
    gone = [name for label, name in enumerate(classes) if label not in have]
    if gone:
        reasons = "; ".join(f"{name!r} {reason}" for name, reason in pool.skipped[:5])
        raise DataError(f"{source!r}: no picture of {listing(gone)} can be used: {reasons or 'there is none'}")


def _label_conflicts(pool: Pool) -> list[str]:
    """Exact copies under two classes: somebody mislabelled one."""
    first: dict[str, Picture] = {}
    clashes = []
    for picture in pool.pictures:
        seen = first.setdefault(picture.digest, picture)
        if seen.label != picture.label:
            clashes.append(f"{seen.name} = {picture.name}")
    return [f"{len(clashes)} pictures lie in two classes at once: {listing(clashes, 3)}"] if clashes else []


def _gaps(classes: Sequence[str], pools: Mapping[str, Pool]) -> list[str]:
    """Classes that a split of the source's own lacks."""
    notes = []
    for split in ("val", "test"):
        have = {p.label for p in pools[split].pictures} if split in pools else set(range(len(classes)))
        missing = [name for label, name in enumerate(classes) if label not in have]
        if missing:
            notes.append(f"classes without a picture in {split}: {listing(missing)}")
    return notes


def _leaks(pools: Mapping[str, Pool]) -> list[str]:
    """Exact copies of training pictures among val or test, where the source brought its own splits."""
    if "all" in pools:
        return []
    known = {p.digest for p in pools["train"].pictures}
    notes = []
    for split in ("val", "test"):
        copies = [p.name for p in pools[split].pictures if p.digest in known] if split in pools else []
        if copies:
            notes.append(f"{len(copies)} pictures of {split} are also in train: {listing(copies, 3)}")
    return notes
