"""Where what crosses a cut is kept: in memory, or beyond a limit in a mapped file that has its room from the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgexfer.errors import TrainingError
from edgexfer.transfer import crossings


@pytest.fixture
def folder(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(crossings, "MEMORY_LIMIT_BYTES", 1_000)
    return own_cache / "crossings"


def test_beyond_the_limit_they_lie_in_a_file_without_a_name(folder: Path) -> None:
    small, large = crossings._allocate((1, 10)), crossings._allocate((2, 500))
    assert not isinstance(small, np.memmap) and isinstance(large, np.memmap)
    assert large.shape == (2, 500) and not large.any()
    large[1] = 3
    assert large.sum() == 1_500 and list(folder.iterdir()) == []


def test_what_does_not_fit_on_the_disk_is_said_before_anything_is_computed(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            TrainingError, match=r"takes 0\.5 GiB, which does not fit in .*crossings.*\(File too large\); lower --views"
        ):
            crossings._allocate((2, 64 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.iterdir()) == []
