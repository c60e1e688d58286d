"""Measuring on other devices through a real OpenSSH server on the loopback address."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from edgexfer.errors import DeviceError
from edgexfer.results import Device, FleetRun, named_devices, read_devices, read_result, run_fleet
from edgexfer.results import fleet as fleet_module
from edgexfer.results.visit import Visit
from tests.results import sshd
from tests.results.fleet_kit import QUICK, RETRIES_S, Fleet, made_bundle, needs_sshd


@needs_sshd
def test_one_devices_trouble_is_its_own(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    names = ("good", "slow", "stranger", "bare", "full", "off")
    servers = dict.fromkeys(names, server)
    servers["off"] = sshd.Server(tmp_path / "off")  # never started
    fleet = Fleet(tmp_path, bundle, servers, wrong=("stranger",))
    (tmp_path / "full").write_text("a file where its folder should go")
    devices = [
        fleet.device("good"),
        fleet.device("slow", 'sleep 2; exec {python} "$@"'),
        fleet.device("stranger"),
        fleet.device("bare", 'exec {python} -I -S "$@"'),
        fleet.device("full"),
        fleet.device("off"),
    ]
    found = fleet.run(*devices)
    assert list(found) == list(names)
    assert {name: found[name].status for name in names} == {
        "good": "ok", "slow": "ok", "stranger": "unreachable", "bare": "failed", "full": "failed", "off": "unreachable"
    }  # fmt: skip
    for name in ("good", "slow"):
        result = found[name].result
        assert result == fleet.out / f"{name}.json"
        assert [(c.model, c.verified, len(c.latency_s) >= 20) for c in read_result(result).configs] == [
            ("tiny.onnx", True, True)
        ]
    assert not (fleet.out / "bare.json").exists()
    assert "its host key is not the known one: connect by hand once" in str(found["stranger"].error)
    assert "numpy, onnxruntime missing" in str(found["bare"].error) and "--setup" in str(found["bare"].error)
    assert "copying the bundle failed on full with exit code" in str(found["full"].error)
    assert "Connection refused" in str(found["off"].error) and "is it on and in the network?" in str(found["off"].error)
    assert fleet.states("good") == ["connecting", "copying", "measuring", "ok"]
    record = json.loads((fleet.out / "fleet.json").read_text())["devices"]
    assert {name: record[name]["status"] for name in names} == {name: found[name].status for name in names}
    assert not list((tmp_path / "good/edgexfer-bench").glob("job-*")), "nothing is left there"
    again = fleet.run(*devices[:2])
    assert {name: outcome.status for name, outcome in again.items()} == {"good": "kept", "slow": "kept"}
    assert fleet.states("good")[-1] == "ok", "it was not asked again"


@needs_sshd
def test_a_connection_that_breaks_is_taken_up_again(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"attic": server})
    device = fleet.device("attic", 'echo beginning >&2; sleep 1.5; exec {python} "$@"')

    def breaking() -> None:
        fleet.event("attic", "measuring").wait(20)
        server.break_connections()

    threading.Thread(target=breaking).start()
    found = fleet.run(device, setup=True)
    assert found["attic"].status == "ok", found
    assert (tmp_path / "attic/edgexfer-bench/ready").exists() and "setting up" in fleet.states("attic")
    assert "waiting" in fleet.states("attic")
    beginnings = [what for _, state, what in fleet.told if (state, what) == ("measuring", "beginning")]
    assert len(beginnings) == 1, "measured once, and no line told twice"


@needs_sshd
def test_a_device_that_disappears_is_named_and_goes_on_once_it_is_back(
    server: sshd.Server, bundle: Path, tmp_path: Path
) -> None:
    with sshd.running(tmp_path / "own") as own:
        fleet = Fleet(tmp_path, bundle, {"cellar": own, "good": server})
        count = tmp_path / "starts"
        body = f'echo x >> {count}; echo hello >&2; sleep 2; exec {{python}} "$@"'
        devices = [fleet.device("cellar", body), fleet.device("good")]

        def pulling_the_plug() -> None:
            fleet.event("cellar", "measuring").wait(20)
            own.stop()

        threading.Thread(target=pulling_the_plug).start()
        found = fleet.run(*devices)
        assert (found["cellar"].status, found["good"].status) == ("lost", "ok")
        assert "run the same command again once it is back: the measurement goes on there" in str(found["cellar"].error)
        assert found["cellar"].result is None and not (fleet.out / "cellar.json").exists()
        own.start()
        found = fleet.run(*devices)
        assert (found["cellar"].status, found["good"].status) == ("ok", "kept"), found
        assert count.read_text().splitlines() == ["x"], "the measurement that outlived the connection was found again"


@needs_sshd
def test_a_measurement_that_died_is_begun_again_when_asked(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"shed": server})
    mark = tmp_path / "mark"
    # The first time it takes its own shell, and so the whole job, with it: as a power cut would.
    device = fleet.device("shed", f'if [ ! -e {mark} ]; then touch {mark}; kill -9 $PPID $$; fi; exec {{python}} "$@"')
    found = fleet.run(device)
    assert found["shed"].status == "failed"
    assert "vanished without a word, as after a reboot or a power cut" in str(found["shed"].error)
    assert fleet.run(device)["shed"].status == "ok"


@needs_sshd
def test_wrong_answers_come_home_with_their_result(server: sshd.Server, tmp_path: Path, bundle: Path) -> None:
    broken = tmp_path / "broken.tar.gz"
    with tarfile.open(broken, "w:gz") as packed:
        packed.add(made_bundle(tmp_path / "broken", shift=1.0), "broken")
    fleet = Fleet(tmp_path, broken, {"good": server})
    found = fleet.run(fleet.device("good"))["good"]
    assert (found.status, found.result) == ("failed", fleet.out / "good.json")
    assert "gives wrong answers on this machine" in str(found.error)
    with pytest.raises(
        DeviceError, match=r"good.json' is of another measurement; choose another --out, or pass --force"
    ):
        Fleet(tmp_path, bundle, {"good": server}).run(fleet.device("good"))
    other = Fleet(tmp_path, bundle, {"good": server})
    (tmp_path / "good/edgexfer-bench/.venv").mkdir()
    assert other.run(fleet.device("good"), force=True)["good"].status == "ok"
    assert (tmp_path / "good/edgexfer-bench/.venv").is_dir(), "an environment outlives a new bundle"


@needs_sshd
def test_the_command_tells_what_came_home_and_names_what_is_missing(
    server: sshd.Server, bundle: Path, tmp_path: Path
) -> None:
    fleet = Fleet(tmp_path, bundle, {"good": server, "bare": server})
    good, bare = fleet.device("good"), fleet.device("bare", 'exec {python} -I -S "$@"')
    (tmp_path / "devices.toml").write_text(
        "".join(f"[[device]]\nhost = '{d.host}'\ndir = '{d.folder}'\npython = '{d.python}'\n" for d in (good, bare))
    )
    words = ["bench", str(bundle), "--fleet", str(tmp_path / "devices.toml"), "--ssh-config", str(fleet.config)]
    words += [*QUICK, "--out", str(fleet.out)]
    done = subprocess.run(
        [sys.executable, "-m", "edgexfer", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stdout == f"{fleet.out}/good.json\n"
    assert "good: measuring" in done.stderr and "tiny.onnx" in done.stderr
    assert "Error: 1 of 2 devices gave no whole result: bare (failed): bench.py left no result on bare" in done.stderr


@needs_sshd
def test_ctrl_c_brings_home_what_there_is(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"good": server})
    device = fleet.device("good")
    (tmp_path / "devices.toml").write_text(
        f"[[device]]\nhost = 'good'\ndir = '{device.folder}'\npython = '{device.python}'\n"
    )
    words = ["bench", str(bundle), "--fleet", str(tmp_path / "devices.toml"), "--ssh-config", str(fleet.config)]
    words += ["--min-seconds", "120", "--rounds", "1", "--out", str(fleet.out)]
    command = [sys.executable, "-m", "edgexfer", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        next(line for line in child.stderr if "measuring" in line)
        time.sleep(2.5)
        os.kill(child.pid, signal.SIGINT)
        talk = child.stderr.read()
    assert child.returncode == 1, talk
    assert "good: stopping: bringing home what it has" in talk
    (config,) = read_result(fleet.out / "good.json").configs
    assert config.status == "interrupted" and len(config.latency_s) > 100


@needs_sshd
def test_a_device_can_be_given_up_on(server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, bundle, {"attic": server})
    device = fleet.device("attic", "echo endless >&2; sleep 6; exit 1")
    run = FleetRun(bundle, fleet.out, QUICK, config=fleet.config)
    archive, digest = fleet_module._packed(bundle, tmp_path)
    visit = Visit(run, device, "job-x", archive, digest, fleet.tell, RETRIES_S)
    giving_up = threading.Thread(target=lambda: (fleet.event("attic", "measuring").wait(20), visit.give_up()))
    giving_up.start()
    found = visit.outcome()
    assert (found.status, found.result) == ("lost", None)
    assert "was given up on while it was measuring; run the same command again" in str(found.error)


def test_devices_are_named_by_their_hosts() -> None:
    assert named_devices(["pi@kitchen.local", "shed"]) == (
        Device("kitchen.local", "pi@kitchen.local"),
        Device("shed", "shed"),
    )


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (["pi@a", "root@a"], "named twice in --on: a"),
        (["-oProxyCommand=x"], "is no host; expected such as pi@kitchen"),
        (["@"], "is no name; use letters"),
        (["pi@Fleet"], "'Fleet' in --on is the name of fleet.json, of all devices; choose another"),
    ],
)
def test_odd_hosts_are_refused(hosts: list[str], says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        named_devices(hosts)


def test_a_fleet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(
        "[defaults]\ndir = 'bench'\n[[device]]\nname = 'kitchen'\nhost = 'pi@10.0.0.7'\noptions = ['--threads', '4']\n"
        "[[device]]\nhost = 'shed'\npython = 'python3.11'\n"
    )
    assert read_devices(path) == (
        Device("kitchen", "pi@10.0.0.7", "bench", "python3", ("--threads", "4")),
        Device("shed", "shed", "bench", "python3.11"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("device = 3", r"it lists no \[\[device\]\] with a host"),
        ("[[device]]\nname = 'a'\nport = 22\n", "device 1: 'port' is not known .*; device 1: it has no host"),
        ("[[device]]\nhost = ''\n", "host is ''; expected a text"),
        ("[[device]]\nhost = 'a'\noptions = '--threads'\n", "options is '--threads'; expected a list of texts"),
        ("[[devices]]\nhost = 'a'\n", "'devices' is not a table of a fleet"),
        ("[[device", "cannot read the fleet"),
        ("[[device]]\nhost = 'a'\n[[device]]\nhost = 'b@a'\n", "named twice in .*: a; give each device a name"),
    ],
)
def test_every_mistake_in_a_fleet_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "devices.toml").write_text(text)
    with pytest.raises(DeviceError, match=says):
        read_devices(tmp_path / "devices.toml")


def test_what_is_no_bundle_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    for name, says in (("nothing", "is no bundle"), ("x.tar.gz", "is damaged")):
        with pytest.raises(DeviceError, match=says):
            run_fleet(FleetRun(tmp_path / name, tmp_path / "out"), [Device("a", "a")], lambda *_: None)


@pytest.mark.parametrize(
    ("twin", "says"),
    [
        (Device("kitchen", "pi@other"), "two devices are called 'kitchen'; leave one out"),
        (Device("second", "pi@kitchen"), "'kitchen' and 'second' are the folder 'edgexfer-bench' of 'pi@kitchen' both"),
    ],
)
def test_devices_that_would_get_in_each_others_way_are_refused(tmp_path: Path, twin: Device, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        run_fleet(FleetRun(tmp_path, tmp_path / "out"), [Device("kitchen", "pi@kitchen"), twin], lambda *_: None)
