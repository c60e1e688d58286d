"""``edgexfer bundle``: artifacts, labelled samples and the device's scripts in one folder."""

from __future__ import annotations

from pathlib import Path

from edgexfer.data import map_labels
from edgexfer.errors import DataError
from edgexfer.export.bundle import write_bundle
from edgexfer.export.metadata import read_info
from edgexfer.training import Listener
from edgexfer.training.pictures import tell_of
from edgexfer.workflows.data import DataChoice, held_out, in_batches, spread_sample
from edgexfer.workflows.remembered import load_as_cut, warn_of_known_pictures


def make_bundle(
    artifacts: list[Path],
    data: DataChoice,
    out: Path,
    listener: Listener,
    *,
    samples: int = 256,
    tar: bool = False,
    force: bool = False,
) -> Path:
    """Writes a bundle; its samples are held-out pictures (test, else validation), evenly over the classes.

    Returns:
        The bundle that was written.

    Raises:
        DataError: The data has other classes than the artifacts, or ``out`` lies among its pictures.
    """
    data.refuse_among_pictures(out)
    info = read_info(artifacts[0])
    splits = load_as_cut(info.cut, data, listener)
    tell_of(splits, listener)
    unknown = [name for name in splits.classes if name not in info.classes]
    if unknown:
        raise DataError(f"{str(artifacts[0])!r} does not know these classes of {data.source!r}: {', '.join(unknown)}")
    view = spread_sample(held_out(splits), samples)
    if info.cut is not None:
        warn_of_known_pictures(info.cut.fingerprint, splits, listener)
    listener.say(f"samples: {len(view)} pictures of the {view.name} split")
    return write_bundle(
        artifacts,
        out,
        samples=next(in_batches(view, info.preprocessing, len(view))),
        labels=map_labels(view, splits.classes, info.classes, data.source).labels,
        classes=info.classes,
        files=view.files,
        tar=tar,
        force=force,
    )
