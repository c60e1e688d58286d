"""The data of a command: looked through with a word of how far it is, and fed in batches."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgexfer.errors import EdgexferError
from edgexfer.preprocessing import square
from edgexfer.training import Silent
from edgexfer.workflows import data as data_module
from edgexfer.workflows import predict as predict_module
from edgexfer.workflows.data import DataChoice, in_batches


def test_looking_through_the_pictures_tells_how_far_it_is(colours: Path, tmp_path: Path) -> None:
    class Looking(Silent):
        def __init__(self) -> None:
            self.told: list[object] = []

        def begin(self, title: str, total: int) -> None:
            self.told.append((title, total))

        def advance(self, done: int, note: str) -> None:
            self.told.append(done)

        def end(self) -> None:
            self.told.append("end")

    looking = Looking()
    DataChoice(str(colours)).load(looking)
    assert looking.told == [("look at the pictures", 60), *range(1, 61), "end"]


@pytest.mark.parametrize("size", [7, 16, 60, 100])
def test_batches_hold_every_picture_once_in_its_order(
    colours: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    view, rule = DataChoice(str(colours)).load().train, square(16)
    whole = next(in_batches(view, rule, len(view)))
    monkeypatch.setattr(data_module, "DECODED", 16)
    found = list(in_batches(view, rule, size))
    assert [len(part) for part in found] == [min(size, len(view) - start) for start in range(0, len(view), size)]
    np.testing.assert_array_equal(np.concatenate(found), whole)


def test_predicting_reads_heic_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    library = ModuleType("pillow_heif")
    library.register_heif_opener = lambda: asked.append("registered")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", library)
    (tmp_path / "photo.heic").write_bytes(b"")
    with pytest.raises(EdgexferError, match="no.onnx"):
        next(predict_module.predict(tmp_path / "no.onnx", [tmp_path / "photo.heic"]))
    assert asked == ["registered"]
