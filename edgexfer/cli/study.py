"""``edgexfer study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgexfer.cli.common import command_line, common_options, data_choice_of, data_options, emit
from edgexfer.cli.talk import Talk
from edgexfer.errors import RecipeError


@click.command("study", epilog="Example: edgexfer study bn-dense --out bn-dense")
@click.argument("name", required=False)
@click.option("--list", "list_them", is_flag=True, help="Name the studies, with the time that each takes.")
@click.option("--data", default="digits", show_default=True, help="digits, a folder, or a set by name.")
@click.option("--out", type=click.Path(path_type=Path), help="Where it goes.  [default: study-NAME]")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many are measured: 0, 1, ...")
@click.option("--model", "models", multiple=True, help="A network for a study that takes some; repeat it.")
@click.option("--weights", "weights", multiple=True, help="imagenet or a weight file, one for each --model.")
@click.option("--fast", is_flag=True, help="A short form of seconds a seed, which shows less.")
@data_options
@common_options(seed=False)
def command(
    name: str | None,
    list_them: bool,
    data: str,
    out: Path | None,
    seeds: int,
    models: tuple[str, ...],
    weights: tuple[str, ...],
    fast: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what batch norm, transfer learning or distillation does: raw numbers as JSON, and a page.

    Works on the embedded digits, or on any DATA. An interrupted study is gone on with by the same command.
    """
    if list_them:
        _list(as_json)
        return
    if name is None:
        raise click.UsageError("name a study; edgexfer study --list shows them")
    options |= {"seeds": tuple(range(seeds)), "fast": fast, "networks": (models, weights)}
    _run(name, data, out or Path(f"study-{name}"), force, as_json, options)


def _list(as_json: bool) -> None:
    from edgexfer.studies.catalogue import studies

    entries = [studies()[name] for name in studies()]
    value = [{"name": e.name, "title": e.title, "expected_s": e.expected_s} for e in entries]
    wide = max(len(e.name) for e in entries)
    lines = [f"{e.name:{wide}}  {max(1, round(e.expected_s / 60)):>3} min  {e.title}" for e in entries]
    emit(value, as_json, "\n".join(lines))


def _run(name: str, data: str, out: Path, force: bool, as_json: bool, options: dict[str, Any]) -> None:
    from edgexfer.studies.catalogue import studies

    entry = studies()[name]
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {str(out)!r} is a file; a study makes a folder")
    from edgexfer.studies.folder import PAGE_FILE, STUDY_FILE
    from edgexfer.studies.running import StudyTarget, run_study
    from edgexfer.workflows.train import Start, pair_weights

    seeds, fast, (models, weights) = options.pop("seeds"), options.pop("fast"), options.pop("networks")
    choice = data_choice_of(data, {**options, "seed": 0})
    starts = [Start(*pair) for pair in pair_weights("--model", models, "--weights", weights, "imagenet")]
    target = StudyTarget(out, force, command_line())
    with Talk() as talk:
        talk.say(f"{entry.name}: {entry.title}")
        result = run_study(name, choice, target, talk, seeds=seeds, fast=fast, starts=starts)
        for claim in result.claims:
            talk.say(f"{claim.verdict}: {claim.expected} {claim.quantity}: {claim.measured}")
        talk.say(f"look at the page: {out / PAGE_FILE}")
    summary = {
        "study": name,
        "page": str(out / PAGE_FILE),
        "result": str(out / STUDY_FILE),
        "claims": [claim.to_dict() for claim in result.claims],
    }
    emit(summary, as_json, str(out / PAGE_FILE))
