from __future__ import annotations

import errno
import json

import numpy as np
import pytest
import torch

from edgexfer.distill import cache as cache_module
from edgexfer.distill.cache import ABOUT_FILE, OutputCache, kept_with, outputs_folder, view_bytes

FACTS = {"teacher": "a", "weights_sha256": "0"}


pytestmark = pytest.mark.usefixtures("own_cache")


def some(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (count, 5))).float()


def test_what_was_written_is_read_by_another_process_as_it_was_returned() -> None:
    mine = OutputCache(FACTS, images=8, classes=5)
    assert not mine.read(0, np.array([1, 2]))[1].any()
    returned = mine.write(0, np.array([1, 5, 7]), some())
    np.testing.assert_allclose(returned.numpy(), torch.log_softmax(some(), 1).numpy(), atol=5e-3)
    found, known = OutputCache(FACTS, images=8, classes=5).read(0, np.array([7, 0, 1, 5]))
    assert known.tolist() == [True, False, True, True]
    assert torch.equal(found[[2, 3, 0]], returned)
    assert OutputCache(FACTS, images=8, classes=5).known(0).tolist() == [1, 5, 7]
    assert not OutputCache(FACTS, images=8, classes=5).read(1, np.array([1]))[1].any()


def test_other_facts_have_another_place() -> None:
    OutputCache(FACTS, 8, 5).write(0, np.arange(3), some())
    assert not OutputCache({**FACTS, "weights_sha256": "1"}, 8, 5).read(0, np.arange(3))[1].any()
    assert len(list(outputs_folder().iterdir())) == 1


def test_damaged_rows_and_cut_files_are_unknown() -> None:
    mine = OutputCache(FACTS, 8, 5)
    mine.write(0, np.arange(8), some(8))
    path = mine.folder / "view-00000.bin"
    assert path.stat().st_size == view_bytes(8, 5) == 8 * 12
    content = bytearray(path.read_bytes())
    content[16 + 3 * 10 + 4] ^= 0x10  # a bit of the third word of row 3
    path.write_bytes(content)
    assert OutputCache(FACTS, 8, 5).known(0).tolist() == [0, 1, 2, 4, 5, 6, 7]
    path.write_bytes(content[:50])
    assert OutputCache(FACTS, 8, 5).known(0).tolist() == []
    again = OutputCache(FACTS, 8, 5)
    again.write(0, np.arange(2), some(2))
    assert again.known(0).tolist() == [0, 1]


def test_a_folder_that_says_something_else_is_made_anew() -> None:
    mine = OutputCache(FACTS, 8, 5)
    mine.write(0, np.arange(8), some(8))
    about = json.loads((mine.folder / ABOUT_FILE).read_text())
    (mine.folder / ABOUT_FILE).write_text(json.dumps({**about, "images": 9}))
    assert not OutputCache(FACTS, 8, 5).known(0).size
    mine = OutputCache(FACTS, 8, 5)
    mine.write(0, np.arange(8), some(8))
    (mine.folder / ABOUT_FILE).write_text("{")
    assert not OutputCache(FACTS, 8, 5).known(0).size


def test_a_full_disk_is_no_error_and_leaves_nothing_half_made(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = OutputCache(FACTS, 8, 5)
    mine.write(0, np.arange(8), some(8))

    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module, "reserve", full)
    returned = mine.write(1, np.arange(8), some(8))
    assert torch.equal(returned, mine.read(0, np.arange(8))[0])
    assert not mine.writable and not mine.read(1, np.arange(8))[1].any()
    assert mine.read(0, np.arange(8))[1].all()
    assert sorted(path.name for path in mine.folder.iterdir()) == [ABOUT_FILE, "view-00000.bin"]


def test_where_allocation_is_unknown_zeros_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.posix_fallocate")
    mine = OutputCache(FACTS, 8, 5)
    mine.write(0, np.array([2]), some(1))
    assert (mine.folder / "view-00000.bin").stat().st_size == view_bytes(8, 5)
    assert mine.known(0).tolist() == [2]


def test_a_folder_that_another_process_is_making_stays() -> None:
    theirs = OutputCache(FACTS, 8, 5)
    theirs.folder.mkdir(parents=True)
    part = theirs.folder / "about.json.part"
    part.write_text("{")
    OutputCache(FACTS, 8, 5)
    assert part.exists()
    theirs.write(0, np.arange(8), some(8))
    mine = OutputCache(FACTS, 8, 5)
    mine.write(1, np.arange(8), some(8))
    assert len(theirs.known(0)) == len(mine.known(0)) == len(theirs.known(1)) == 8


def test_names_decide_nothing_and_what_is_kept_is_found_by_facts() -> None:
    OutputCache(FACTS, 8, 5, names={"source": "photos"}).write(0, np.arange(8), some(8))
    moved = OutputCache(FACTS, 8, 5, names={"source": "/elsewhere/photos"})
    assert len(moved.known(0)) == 8
    OutputCache({**FACTS, "mixup": 0.5}, 8, 5).write(3, np.arange(8), some(8))
    assert [kept.facts.get("mixup") for kept in kept_with({"mixup": 0.5})] == [0.5]
    assert {kept.folder for kept in kept_with(FACTS)} >= {moved.folder} and len(list(kept_with(FACTS))) == 2
    assert moved.kept.size_bytes == view_bytes(8, 5)
    assert not list(kept_with({"weights_sha256": "1"}))


def test_why_nothing_more_is_kept_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    mine = OutputCache(FACTS, 8, 5, warn=told.append)

    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    mine.write(0, np.arange(4), some(4))
    assert not told
    monkeypatch.setattr(cache_module, "reserve", full)
    for view in (1, 2):
        mine.write(view, np.arange(8), some(8))
    assert told == [
        f"what the teachers say cannot be kept in {str(outputs_folder())!r} (No space left on device), so they answer"
        " again in every epoch; free space, or set EDGEXFER_CACHE to a folder on another disk"
    ]


def test_a_cache_that_may_only_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    OutputCache(FACTS, 8, 5).write(0, np.arange(4), some(4))
    told: list[str] = []
    mine = OutputCache(FACTS, 8, 5, warn=told.append)
    monkeypatch.setattr("os.access", lambda *_: False)
    for _ in range(2):
        mine.write(0, np.arange(8), some(8))
    assert len(told) == 1 and "(what is there may only be read)" in told[0]
    assert mine.known(0).tolist() == [0, 1, 2, 3]
