"""The report as a spreadsheet: one row a measurement, each number that of its file."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.files import sha256_file
from edgexfer.report import write_report
from edgexfer.report.sheet import COLUMNS

README = Path(__file__).parents[2] / "README.md"
Rows = list[dict[str, str]]


def read(path: Path) -> Rows:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def rows(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    out = tmp_path_factory.mktemp("sheet") / "report.csv"
    assert write_report([world.root], out).size_bytes == out.stat().st_size
    return read(out)


def test_there_is_a_row_for_each_configuration_and_for_what_was_not_measured(world: Any, rows: Rows) -> None:
    results = [json.loads(p.read_text())["configs"] for p in sorted((world.root / "results").glob("*.json"))]
    assert len([row for row in rows if row["result"]]) == sum(map(len, results))
    assert [row["role"] for row in rows if not row["result"]] == ["hard labels", "teacher"]
    assert set(rows[0]) == set(COLUMNS)


def test_every_time_is_that_of_its_file(world: Any, rows: Rows) -> None:
    seen = 0
    for name in ("bench-pi4.json", "bench-server.json"):
        configs = json.loads((world.root / "results" / name).read_text())["configs"]
        for config, row in zip(configs, [r for r in rows if r["result"] == f"results/{name}"], strict=True):
            times = config["latency_s"] if config["status"] == "ok" else []
            for column, enough in (("p50_s", 1), ("p90_s", 64), ("p95_s", 130), ("p99_s", 662)):
                has = len(times) >= enough
                assert (row[column] != "") is has
                if has:
                    assert float(row[column]) == pytest.approx(np.percentile(times, int(column[1:3])), rel=1e-12)
                    seen += 1
            if times:
                rate = config.get("batch", 1) * len(times) / sum(times)
                assert float(row["images_per_s"]) == pytest.approx(rate, rel=1e-9)
                assert float(row["load_s"]) == config["load_s"] and float(row["first_s"]) == config["first_s"]
                assert int(row["peak_rss_bytes"]) == config["peak_rss_bytes"]
            assert float(row["device_top1"] or "nan") == config["top1"] and int(row["threads"]) == config["threads"]
    assert seen > 20


def test_every_figure_of_a_network_is_that_of_its_run(world: Any, rows: Rows) -> None:
    for row in rows:
        if not row["run"]:
            continue
        scores = json.loads((world.root / row["run"] / "run.json").read_text())["scores"]
        for column in ("val_top1", "test_top1", "parameters", "operations", "weights_bytes"):
            assert float(row[column]) == scores[column]
    measured = next(row for row in rows if row["file"] == "student.int8.onnx")
    assert measured["sha256"] == sha256_file(world.int8) and int(measured["file_bytes"]) == world.int8.stat().st_size
    assert float(measured["int8_top1"]) == 0.974


def test_no_time_stands_where_none_may_be_shown(rows: Rows) -> None:
    refused = [row for row in rows if row["answers"] in ("emulated", "wrong answers")]
    assert len(refused) == 2
    for row in refused:
        assert not any(row[column] for column in COLUMNS if column.endswith("_s"))


def test_a_file_that_was_not_measured_has_a_row(world: Any, tmp_path: Path) -> None:
    write_report([world.artifact], tmp_path / "a.csv")
    (row,) = read(tmp_path / "a.csv")
    assert row["file"] == "student.onnx" and row["p50_s"] == "" and row["run"] == ""


def test_a_name_is_never_a_formula(make: Any, tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://x","y")'
    make.result(tmp_path / "r.json", [make.config(evil), make.config("@sum\n,2")], cpu="+1+1", board=None)
    write_report([tmp_path / "r.json"], tmp_path / "a.csv")
    first, second = read(tmp_path / "a.csv")
    assert first["file"] == f"'{evil}" and first["machine"] == "'+1+1"
    assert second["file"] == "'@sum\n,2"


@pytest.mark.parametrize("name", [" =1+1", "\n=1+1", "\r\n@sum", "\u00a0-1", "\uff1d1+1", "\tx", "\nx", "\rx"])
def test_nor_is_it_one_once_it_is_trimmed(make: Any, tmp_path: Path, name: str) -> None:
    make.result(tmp_path / "r.json", [make.config(name), make.config("a =1.onnx")])
    write_report([tmp_path / "r.json"], tmp_path / "a.csv")
    stream = io.StringIO((tmp_path / "a.csv").read_bytes().decode(), newline="")
    first, second = csv.DictReader(stream)
    assert first["file"] == "'" + name.replace("\r\n", "\n").replace("\r", "\n") and second["file"] == "a =1.onnx"


def test_the_readme_names_every_column() -> None:
    text = re.sub(r"\s+", " ", README.read_text(encoding="utf-8"))
    assert [column for column in COLUMNS if f"`{column}`" not in text] == []
