"""The report as one tidy table, for a spreadsheet: a row for each model, machine and configuration.

Numbers stand as the files hold them, unrounded, with their units in the columns' names; what is not known or may not be
shown (a latency after wrong answers, or from an emulated processor) is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from edgexfer.report.configurations import images_per_s
from edgexfer.report.lineage import Lineage
from edgexfer.report.machines import machine_name
from edgexfer.report.measured import Config, mapping
from edgexfer.report.models import Naming, network_name
from edgexfer.report.records import Found, FoundArtifact, FoundRun
from edgexfer.results.statistics import ENOUGH, mean, percentile

COLUMNS: Mapping[str, str] = {
    "network": "name of the network",
    "run": "its run folder",
    "role": "teacher, student, hard labels or nothing",
    "data": "what it learned from",
    "val_top1": "of the run, 0 to 1",
    "test_top1": "of the run, 0 to 1",
    "test_ece": "calibration error of the run on test, 0 to 1",
    "parameters": "of the network",
    "operations": "of one picture, twice the multiply-adds",
    "weights_bytes": "size of the run's weights",
    "file": "the ONNX file",
    "sha256": "of the file",
    "precision": "float32 or int8",
    "file_bytes": "size of the file",
    "int8_top1": "of an int8 file on held-out pictures, 0 to 1",
    "machine": "what it was measured on",
    "host": "name of that machine",
    "emulated": "true where it was no real machine",
    "runtime": "what ran the file",
    "runtime_version": "its version",
    "threads": "of the runtime",
    "scenario": "single-stream, multi-stream, offline or sustained",
    "batch": "pictures a query",
    "answers": "right, not provable, or why no latency is given",
    "stable": "true where the measurement held still",
    "device_top1": "on the device's labelled pictures, 0 to 1",
    "device_images": "how many those were",
    "queries": "how many were timed",
    "p50_s": "median of a query",
    "p90_s": "percentile of a query, from 64 of them",
    "p95_s": "percentile of a query, from 130 of them",
    "p99_s": "percentile of a query, from 662 of them",
    "mean_s": "mean of a query",
    "images_per_s": "pictures a second",
    "load_s": "time to open the file",
    "first_s": "time of the first query",
    "peak_rss_bytes": "most memory that was used",
    "result": "the file that the measurement stands in",
}
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are their wide forms
_CONTROL = ("\t", "\n")


def sheet(found: Found, lineage: Lineage, naming: Naming) -> str:
    """The table as CSV, its first line the names of ``COLUMNS``.

    A name that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(found, lineage, naming):
        writer.writerow([_written(row.get(column)) for column in COLUMNS])
    return stream.getvalue()


def rows(found: Found, lineage: Lineage, naming: Naming) -> Iterator[dict[str, Any]]:
    """What was measured, then the files that were not, then the runs of which there is neither."""
    for config in lineage.configs:
        yield {**_of_run(config.run, naming), **_of_artifact(config.artifact), **_of_config(config)}
    measured = {str(config.value.get("sha256")) for config in lineage.configs}
    for artifact in found.artifacts:
        if artifact.sha256 not in measured:
            yield {**_of_run(lineage.parents.get(artifact.sha256), naming), **_of_artifact(artifact)}
    known = {run.label for run in lineage.parents.values()}
    known |= {config.run.label for config in lineage.configs if config.run is not None}
    for run in found.runs:
        if run.label not in known:
            yield _of_run(run, naming)


def _of_run(run: FoundRun | None, naming: Naming) -> dict[str, Any]:
    if run is None:
        return {}
    keys = ("val_top1", "test_top1", "test_ece", "parameters", "operations", "weights_bytes")
    return {
        "network": network_name(run.run.model),
        "run": run.label,
        "role": naming.tags[run.label],
        "data": run.run.recipe.get("data"),
        **{key: run.run.scores.get(key) for key in keys},
    }


def _of_artifact(artifact: FoundArtifact | None) -> dict[str, Any]:
    if artifact is None:
        return {}
    return {
        "file": artifact.label,
        "sha256": artifact.sha256,
        "precision": artifact.precision,
        "file_bytes": artifact.size_bytes,
        "int8_top1": artifact.int8_proof.get("top1"),
    }


def _of_config(config: Config) -> dict[str, Any]:
    value, result, refusal = config.value, config.result, config.refusal
    told = {
        "machine": machine_name(result),
        "host": result.machine.get("host"),
        "emulated": result.emulated,
        "runtime": value.get("runtime"),
        "runtime_version": value.get("runtime_version"),
        "threads": config.threads,
        "scenario": config.scenario,
        "batch": config.batch,
        "answers": refusal or ("right" if value.get("verified") else "not provable"),
        "device_top1": value.get("top1"),
        "device_images": value.get("top1_images"),
        "result": result.label,
    }
    if config.artifact is None:
        told |= {"file": config.name, "sha256": value.get("sha256"), "precision": config.precision}
        told["file_bytes"] = value.get("size_bytes")
    return told if refusal else {**told, **_times(config)}


def _times(config: Config) -> dict[str, Any]:
    value = config.value
    return {
        "stable": mapping(value, "stability").get("stable"),
        "queries": len(config.latency_s),
        **{f"p{percent}_s": percentile(config.latency_s, percent) for percent in ENOUGH},
        "mean_s": mean(config.latency_s),
        "images_per_s": images_per_s(config).exact,
        "load_s": value.get("load_s"),
        "first_s": value.get("first_s"),
        "peak_rss_bytes": value.get("peak_rss_bytes"),
    }


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")  # csv would not quote a single \r
    is_formula = text.startswith(_CONTROL) or text.lstrip().startswith(_FORMULA)  # some programs trim a cell first
    return f"'{text}" if is_formula else text
