"""``edgexfer report``: the report page, with the pictures of the data set beside the predictions."""

from __future__ import annotations

from pathlib import Path

from PIL.Image import Image

from edgexfer.data import View
from edgexfer.errors import EdgexferError
from edgexfer.report import ReportSummary, write_report
from edgexfer.runs import Run
from edgexfer.workflows.remembered import remembered


class Pictures:
    """Finds the pictures that a run's predictions name; each data set is opened once."""

    def __init__(self) -> None:
        self._readers: dict[str, dict[str, tuple[View, int]]] = {}

    def __call__(self, run: Run, file: str) -> Image | None:
        """The picture, or ``None`` where it is not to be had any more."""
        found = self._index(run).get(file)
        if found is None:
            return None
        view, index = found
        try:
            return view.read(index)
        except (EdgexferError, OSError):
            return None

    def _index(self, run: Run) -> dict[str, tuple[View, int]]:
        key = run.splits_fingerprint
        if key not in self._readers:
            try:
                splits = remembered(run).load()
            except (EdgexferError, OSError):
                self._readers[key] = {}
            else:
                views = [view for view in (splits.val, splits.test) if view is not None]
                self._readers[key] = {file: (view, i) for view in views for i, file in enumerate(view.files)}
        return self._readers[key]


def make_report(
    paths: list[Path], out: Path, *, title: str | None = None, force: bool = False, form: str | None = None
) -> ReportSummary:
    """Writes the report of ``paths`` to ``out``; see ``edgexfer.report.write_report``."""
    return write_report(paths, out, force=force, title=title, picture=Pictures(), form=form)
