"""What happens to what is on a device already: a measurement that goes on, files that no bundle brought."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.results import sshd
from tests.results.fleet_kit import Fleet, begun_command, made_bundle, needs_sshd

# Goes on until it is asked to end, as long as there is a file "endless".
ENDLESS = (
    "cd {home}; echo begun >> log; echo hello >&2; trap 'sleep 0.5; echo ended >> log; exit 7' TERM;"
    " n=0; while [ -e endless ] && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.1; done;"
    ' cd - > /dev/null; exec {{python}} "$@"'
)


@needs_sshd
@pytest.mark.parametrize("same", [True, False])
def test_what_goes_on_is_ended_before_another_begins_in_its_place(bundle: Path, tmp_path: Path, same: bool) -> None:
    (tmp_path / "endless").touch()
    with sshd.running(tmp_path / "own") as own:
        fleet = Fleet(tmp_path, bundle, {"cellar": own})
        device = fleet.device("cellar", ENDLESS.format(home=tmp_path))

        def pulling_the_plug() -> None:
            fleet.event("cellar", "measuring").wait(20)
            own.stop()

        threading.Thread(target=pulling_the_plug).start()
        assert fleet.run(device)["cellar"].status == "lost"
        own.start()
        if not same:
            fleet.bundle = made_bundle(tmp_path / "other", shift=1e-4)
            there = (tmp_path / "cellar/edgexfer-bench/bundle.json").read_bytes()
            found = fleet.run(device)["cellar"]
            assert found.status == "failed", found
            assert "looking for the bundle failed on cellar with exit code 4: another" in str(found.error)
            assert "measurement goes on in" in str(found.error)
            assert "wait until it has ended, or end it with kill" in str(found.error)
            assert (tmp_path / "cellar/edgexfer-bench/bundle.json").read_bytes() == there
            assert (tmp_path / "log").read_text().split() == ["begun"]
        threading.Timer(3.0, (tmp_path / "endless").unlink).start()
        found = fleet.run(device, force=True)["cellar"]
    assert found.status == "ok", found
    assert (tmp_path / "log").read_text().split() == ["begun", "ended", "begun"]
    assert not list((tmp_path / "cellar/edgexfer-bench").glob("job-*"))


@needs_sshd
def test_what_no_bundle_brought_outlives_a_new_one(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"good": server})
    device = fleet.device("good")
    assert fleet.run(device)["good"].status == "ok"
    folder = tmp_path / "good/edgexfer-bench"
    names = ("head.npz", "edgexfer-cache/a.embeddings", "bench-pi-1.json", "photos/a.png", ".hidden", "job-1/rc")
    beside = (tmp_path / "good/edgexfer-bench.old/mine", tmp_path / "good/edgexfer-bench.part/mine")
    for path in (*(folder / name for name in (*names, "models/other.onnx")), *beside):
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    fleet.bundle = made_bundle(tmp_path / "other", shift=1e-4)
    assert fleet.run(device, force=True)["good"].status == "ok"
    digests = [hashlib.sha256((at / "bundle.json").read_bytes()).digest() for at in (folder, fleet.bundle)]
    assert digests[0] == digests[1]
    for path in (*(folder / name for name in names), *beside):
        assert path.read_text() == path.name
    assert not (folder / "models/other.onnx").exists(), "the models are those of the new bundle"
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "edgexfer-bench", "edgexfer-bench.old", "edgexfer-bench.part"
    ]  # fmt: skip


@needs_sshd
def test_a_copying_that_was_cut_short_loses_nothing(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"good": server})
    aside = tmp_path / "good/edgexfer-bench.edgexfer-old"
    aside.mkdir(parents=True)
    (aside / "head.npz").write_text("learned")
    assert fleet.run(fleet.device("good"))["good"].status == "ok"
    assert (tmp_path / "good/edgexfer-bench/head.npz").read_text() == "learned" and not aside.exists()
    aside.mkdir()  # once more, when the new bundle is in its place already
    (aside / "head2.npz").write_text("learned, too")
    (aside / "card").symlink_to("/media/not/plugged/in")
    assert fleet.run(fleet.device("good"), force=True)["good"].status == "ok"
    assert fleet.told[-1][1] == "ok" and fleet.states("good").count("copying") == 1
    assert (tmp_path / "good/edgexfer-bench/head2.npz").read_text() == "learned, too" and not aside.exists()
    assert (tmp_path / "good/edgexfer-bench/card").is_symlink()


@needs_sshd
def test_a_folder_of_other_things_is_left_alone(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"good": server})
    mine = tmp_path / "good/edgexfer-bench/thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for force in (False, True):
        found = fleet.run(fleet.device("good"), force=force)["good"]
        assert (found.status, found.result) == ("failed", None)
        assert "copying the bundle failed on good with exit code 4" in str(found.error)
        assert "holds other things and no bundle.json, so nothing is put in its place" in str(found.error)
        assert [path.name for path in mine.parent.iterdir()] == ["thesis.tex"] and mine.read_text() == "mine"


@needs_sshd
def test_a_command_that_is_killed_keeps_what_came_home(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "endless").touch()
    fleet = Fleet(tmp_path, bundle, {"good": server, "slow": server})
    devices = fleet.device("good"), fleet.device("slow", ENDLESS.format(home=tmp_path))
    with begun_command(fleet, *devices) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("good: ok"):
                break
        record, waited = fleet.out / "fleet.json", time.monotonic() + 5
        while time.monotonic() < waited and not (record.is_file() and '"ok"' in record.read_text()):
            time.sleep(0.02)
        child.kill()
    assert (fleet.out / "good.json").is_file() and not (fleet.out / "slow.json").exists()
    assert child.returncode == -signal.SIGKILL
    (tmp_path / "endless").unlink()
    with begun_command(fleet, *devices) as child:
        talk = child.communicate(timeout=60)[1]
    assert child.returncode == 0, talk
    found = json.loads((fleet.out / "fleet.json").read_text())["devices"]
    assert {name: one["status"] for name, one in found.items()} == {"good": "kept", "slow": "ok"}
    assert (tmp_path / "log").read_text().split() == ["begun"], "the measurement that went on was found again"
