import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgexfer.data import index, load_splits
from edgexfer.data.index import cache_folder, index_files, parallel

Make = Callable[..., Path]


def cache_file() -> Path:
    (found,) = (cache_folder() / "index").iterdir()
    return found


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how many files were really opened."""
    seen: list[int] = []
    original = index.look_at
    monkeypatch.setattr(index, "look_at", lambda content: (seen.append(len(content)), original(content))[1])
    return seen


def test_second_time_comes_from_the_cache(folder_of: Make, looked: list[int]) -> None:
    root = folder_of({"a": 40})
    files = [f"a/{i}.png" for i in range(40)]
    first = index_files(root, files)
    assert len(looked) == 40
    assert index_files(root, files) == first
    assert len(looked) == 40


def test_a_set_with_splits_of_its_own_is_looked_at_once(folder_of: Make, looked: list[int]) -> None:
    root = folder_of({f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("a", "b")})
    first = load_splits(root)
    assert len(looked) == 24
    second = load_splits(root)
    assert len(looked) == 24 and second.fingerprint == first.fingerprint
    (root / "val/a/0.png").unlink()
    load_splits(root)
    kept = set(json.loads(cache_file().read_text())["files"])
    assert len(looked) == 24 and len(kept) == 23 and "val/a/0.png" not in kept


def test_a_changed_file_is_looked_at_again(folder_of: Make, looked: list[int], draw: Callable) -> None:
    root = folder_of({"a": 3})
    files = ["a/0.png", "a/1.png", "a/2.png"]
    first = index_files(root, files)
    status = (root / "a/1.png").stat()
    draw(99).save(root / "a/1.png")
    os.utime(root / "a/1.png", ns=(status.st_atime_ns, status.st_mtime_ns))  # as rsync or a careful editor does
    second = index_files(root, files)
    assert len(looked) == 4
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"version": 1, "files": 3}', '{"version": 99, "files": {}}', "\xff"]
)
def test_a_damaged_cache_is_ignored_and_mended(folder_of: Make, damage: str) -> None:
    root = folder_of({"a": 2})
    first = index_files(root, ["a/0.png", "a/1.png"])
    cache_file().write_bytes(damage.encode("latin-1"))
    assert index_files(root, ["a/0.png", "a/1.png"]) == first
    assert len(json.loads(cache_file().read_text())["files"]) == 2


@pytest.mark.parametrize(
    "entry", [None, [], [[1, 2, 3], "x", "y", [1, 2], 1], {"a": 1}, [[], "0" * 64, "!!", [0, 1], 1], 7]
)
def test_damaged_entries_are_ignored(folder_of: Make, entry: object) -> None:
    root = folder_of({"a": 1})
    first = index_files(root, ["a/0.png"])
    value = json.loads(cache_file().read_text())
    if isinstance(entry, list) and entry:
        entry[0] = value["files"]["a/0.png"][0]  # the key fits, the rest does not
    value["files"]["a/0.png"] = entry
    cache_file().write_text(json.dumps(value))
    assert index_files(root, ["a/0.png"]) == first


def test_a_cache_that_cannot_be_written_costs_nothing(
    folder_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGEXFER_CACHE", str(tmp_path / "file"))
    assert index_files(folder_of({"a": 1}), ["a/0.png"])[0].problem == ""


def test_unusable_files_are_not_remembered(folder_of: Make, draw: Callable) -> None:
    root = folder_of({"a": 1})
    (root / "a/bad.png").write_bytes(b"")
    (root / "a/gone.png").symlink_to(root / "nowhere.png")
    entries = index_files(root, ["a/0.png", "a/bad.png", "a/gone.png"])
    assert [e.problem for e in entries] == [
        "", "is empty (0 bytes)", "cannot be read (No such file or directory); check its permissions and the disk"
    ]  # fmt: skip
    assert list(json.loads(cache_file().read_text())["files"]) == ["a/0.png"]


def test_a_pipe_is_not_waited_for(folder_of: Make) -> None:
    root = folder_of({"a": 1})
    os.mkfifo(root / "a/pipe.png")
    assert index_files(root, ["a/pipe.png"])[0].problem == "is not a regular file"


def test_progress_and_order(folder_of: Make) -> None:
    root = folder_of({"a": 50})
    said: list[tuple[int, int]] = []
    files = [f"a/{i}.png" for i in range(50)]
    entries = index_files(root, files, lambda done, total: said.append((done, total)))
    assert said == [(i + 1, 50) for i in range(50)]
    assert [e.digest for e in entries] == [e.digest for e in index_files(root, files)]


def test_parallel_keeps_order_and_passes_errors_on() -> None:
    assert list(parallel(lambda n: n * n, range(1000))) == [n * n for n in range(1000)]

    def fails(n: int) -> int:
        if n == 500:
            raise KeyError(n)
        return n

    with pytest.raises(KeyError):
        list(parallel(fails, range(1000)))
    assert list(parallel(fails, [])) == []


def test_default_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEXFER_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/.cache/edgexfer")
