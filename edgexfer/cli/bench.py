"""``edgexfer bench``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from edgexfer.cli.common import common_options, emit


@click.command("bench", epilog="Example: edgexfer bench student.onnx --threads 1,2 --out bench.json")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--min-seconds", type=click.FloatRange(0), default=10.0, show_default=True, help="Least time a model.")
@click.option("--min-runs", type=click.IntRange(1), default=100, show_default=True, help="Fewest timed inferences.")
@click.option("--threads", help="Thread counts, such as 1,2.  [default: 1; with --on or --fleet 1 and every core]")
@click.option("--rounds", help="Turns of each configuration, each in a fresh process.  [default: 3]")
@click.option("--precision", help="Stop early once the median is this well known, such as 2%.")
@click.option("--scenario", help="single-stream, multi-stream, offline, sustained; several with commas.")
@click.option("--streams", help="Pictures a multi-stream query.  [default: 8]")
@click.option("--batch", help="Pictures an offline query, such as 1,8.  [default: 8]")
@click.option("--sustained-seconds", help="Length of the sustained scenario.  [default: 300]")
@click.option("--spinning", type=click.Choice(["on", "off", "both"]), help="Whether threads wait actively.")
@click.option("--affinity", type=click.Choice(["free", "pinned", "both"]), help="Whether to bind to cores.")
@click.option("--sweep", is_flag=True, help="1, 2, 4... threads, spinning and affinity both ways.")
@click.option("--runtime", help="onnxruntime, openvino, or both with a comma.")
@click.option("--head", type=click.Path(), help="Check and time a head of adapt.py on top.")
@click.option("--profile", is_flag=True, help="Tell the time of each operator too.")
@click.option("--verify-only", is_flag=True, help="Check the answers, time nothing.")
@click.option("--time-anyway", is_flag=True, help="Time even on an emulated processor.")
@click.option("--on", "hosts", multiple=True, metavar="HOST", help="Measure there, through ssh; may be repeated.")
@click.option("--fleet", type=click.Path(path_type=Path), help="Measure on the devices of a TOML file, through ssh.")
@click.option("--setup", is_flag=True, help="Run the bundle's setup.sh there before.")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="In place of your own ssh configuration.")
@click.option("--out", type=click.Path(path_type=Path), help="The result file, of a fleet the folder for its results.")
@common_options(seed=False)
def command(
    target: Path,
    min_seconds: float,
    min_runs: int,
    threads: str | None,
    verify_only: bool,
    hosts: tuple[str, ...],
    fleet: Path | None,
    setup: bool,
    ssh_config: Path | None,
    out: Path | None,
    force: bool,
    as_json: bool,
    **more: str | bool | None,
) -> None:
    """Verify and time TARGET, an ONNX file or a bundle, with the very script that runs on the device.

    With --on or --fleet it runs on other devices side by side: the bundle TARGET is copied there through ssh, and the
    results come home. The same command again keeps what is there and goes on with the rest.
    """
    from edgexfer.cli.fleet import bench_fleet, check
    from edgexfer.results import run_bench

    if check(hosts, fleet, setup, ssh_config):
        words = words_of({"min_seconds": str(min_seconds), "min_runs": str(min_runs), "threads": threads, **more})
        words += ["--verify-only"] if verify_only else []
        how = {"options": tuple(words), "setup": setup, "force": force, "config": ssh_config}
        bench_fleet(target, hosts, fleet, out=out, as_json=as_json, **how)
        return
    made = run_bench(
        target,
        out=out,
        min_seconds=min_seconds,
        min_runs=min_runs,
        threads=threads or (None if more["sweep"] else "1"),
        verify_only=verify_only,
        force=force,
        options=words_of(more),
    )
    emit(json.loads(made.read_text(encoding="utf-8")) if as_json else {}, as_json, str(made))


def words_of(options: Mapping[str, str | bool | None]) -> list[str]:
    """Options as ``bench.py`` takes them; what was not asked for is left to its defaults."""
    words = []
    for name, value in options.items():
        if value:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words
