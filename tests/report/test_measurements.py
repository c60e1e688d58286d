"""What the page tells of a measurement beyond its percentiles: lasting load, steadiness, layers, many at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.files import write_json
from edgexfer.report import write_report
from edgexfer.report.configurations import images_per_s, steady_word
from edgexfer.report.gather import gather
from edgexfer.report.layers import costs, layer_costs
from edgexfer.report.lineage import link
from edgexfer.report.measured import Config
from edgexfer.report.records import FoundResult
from edgexfer.report.steadiness import rounds_of, steadiness
from edgexfer.report.sustained import MOST_WINDOWS, under_load, windows


def config(value: dict[str, Any]) -> Config:
    return Config(FoundResult(Path("r.json"), "r.json", {"configs": [value]}), 0, value, None, None)


def test_the_windows_of_a_load_hold_every_inference_up_to_the_last_look_once(make: Any) -> None:
    found = windows(config(make.sustained("m.onnx", seconds=200)))
    assert len(found) <= MOST_WINDOWS
    assert found[0].first == 0 and found[-1].last == 20_000
    assert all(a.last == b.first for a, b in zip(found, found[1:], strict=False))
    assert found[0].percentile(50).exact == pytest.approx(np.median(found[0].latency_s), rel=1e-12)
    assert found[-1].after.exact == pytest.approx(200, abs=1e-9)


def test_heat_and_clock_stand_beside_the_latency(make: Any) -> None:
    figure = under_load(0, [config(make.sustained("m.onnx"))])
    assert figure is not None and figure.table is not None
    assert "temperature, °C" in figure.wide and "clock, MHz" in figure.wide
    cells = figure.table.rows[-1].cells
    assert [str(cell) for cell in cells[3:]] == ["76.1 °C", "1,500 MHz", "throttled"]
    assert "told no" not in str(figure.caption)


def test_a_machine_without_sensors_says_so(make: Any) -> None:
    value = make.sustained("m.onnx")
    for state in value["observed"]["during"]:
        state |= {"temperature_c": None, "requested_hz": None, "throttled": None}
    figure = under_load(0, [config(value)])
    assert figure is not None
    assert "This machine told no temperature and no clock meanwhile." in str(figure.caption)
    assert "°C" not in figure.wide


def test_a_band_far_beyond_the_medians_does_not_flatten_them(make: Any) -> None:
    value = make.sustained("m.onnx", p50_s=0.001)
    calm = under_load(0, [config(value)])
    value["latency_s"] = [v * (20 if i % 5 == 0 else 1) for i, v in enumerate(value["latency_s"])]
    rough = under_load(0, [config(value)])
    assert calm is not None and rough is not None
    ticks = [re.findall(r">([\d.]+)</text>", figure.wide) for figure in (calm, rough)]
    assert "1.02" in ticks[0] and "1.02" not in ticks[1]
    assert {"2", "5"} <= set(ticks[1])


@pytest.mark.parametrize("during", [None, [], "none", [{"runs": "x"}, {"runs": -1}], [{"runs": 5}, {"runs": 10}]])
def test_a_load_that_was_not_looked_at_has_no_figure(make: Any, during: Any) -> None:
    value = make.sustained("m.onnx")
    value["observed"]["during"] = during
    assert under_load(0, [config(value)]) is None


def test_rounds_are_those_of_the_file(make: Any) -> None:
    value = make.judged(make.config("m.onnx", runs=300))
    found = rounds_of(config(value))
    assert found is not None and found.are_rounds
    assert [median.exact for median in found.medians] == [one["p50_s"] for one in value["rounds"]]
    assert found.lowest.exact == min(one["p50_s"] for one in value["rounds"])


def test_one_round_is_looked_at_in_thirds(make: Any) -> None:
    value = make.judged(make.config("m.onnx", runs=300), rounds=1)
    found = rounds_of(config(value))
    assert found is not None and not found.are_rounds
    wanted = [np.median(value["latency_s"][a : a + 100]) for a in (0, 100, 200)]
    assert [median.exact for median in found.medians] == pytest.approx(wanted, rel=1e-12)


def test_what_wavered_is_said_with_its_cause_and_what_to_do(make: Any) -> None:
    shaky = make.judged(make.config("m.onnx"), causes=[("the processor reached 82 degrees", "cool it")])
    figure = steadiness(0, [config(make.judged(make.config("n.onnx"))), config(shaky)])
    assert figure is not None and figure.table is not None
    assert "1 of 2 configurations wavered" in str(figure.caption)
    assert "the processor reached 82 degrees; cool it" in str(figure.caption)
    assert "the medians of the rounds differ by 9%" in str(figure.table.rows[1].note)
    assert "wavers" in steady_word(config(shaky))


@pytest.mark.parametrize("verdict", [None, {}, [], "stable", {"stable": "yes", "symptoms": 3, "causes": [4]}])
def test_a_strange_verdict_breaks_nothing(make: Any, verdict: Any) -> None:
    strange = config({**make.config("m.onnx", runs=100), "stability": verdict, "rounds": 7, "median_half_width": "?"})
    figure = steadiness(0, [strange])
    assert (figure is None) is not bool(isinstance(verdict, dict) and verdict)
    assert "missing" in steady_word(strange)


def test_operators_of_one_layer_are_added_and_the_slowest_comes_first(make: Any) -> None:
    found = costs(config(make.profiled(make.config("m.onnx"))))
    assert list(found) == ["body.0", "body.1", "reshape"]
    assert found["body.1"].ops == "Conv + Relu"
    assert found["body.1"].mean_s == pytest.approx(4e-4, rel=1e-12)
    assert sum(cost.share for cost in found.values()) == pytest.approx(1, abs=1e-12)


def test_float32_and_int8_of_one_run_share_a_figure(make: Any) -> None:
    first, second = (config(make.profiled(make.config("m.onnx"), scale)) for scale in (1.0, 0.4))
    (figure,) = layer_costs(0, [second, first])
    assert figure.table is not None
    body = figure.table.rows[0]
    assert body.name == "body.0"
    assert [body.cells[i].exact for i in (1, 4)] == pytest.approx([5e-4, 2e-4], rel=1e-12)
    assert [key.colour for key in figure.keys] == [0, 1]


@pytest.mark.parametrize("profile", [None, [], "slow", [{"name": "a"}], [{"name": "a", "mean_s": "1", "share": None}]])
def test_a_configuration_that_was_not_profiled_has_no_figure(make: Any, profile: Any) -> None:
    assert list(layer_costs(0, [config({**make.config("m.onnx"), "profile": profile})])) == []


def test_many_pictures_at_once_are_no_latency_of_one(make: Any) -> None:
    batch = config(make.config("m.onnx", p50_s=0.1, scenario="offline", batch=8))
    assert not batch.is_single
    assert batch.title.endswith("1 thread · offline · 8 at once")
    assert images_per_s(batch).exact == pytest.approx(8 / np.mean(batch.latency_s), rel=1e-12)


def test_what_is_unusual_about_a_configuration_is_in_its_name(make: Any) -> None:
    told = {"threads": 2, "spinning": False, "pinned": True, "affinity": [0, 1], "runtime": "openvino", "head": "h.npz"}
    assert config(make.config("m.onnx", **told)).title == (
        "m · float32 · 2 threads · no spinning · on cores 0,1 · openvino · h.npz"
    )


def recommendation(value: dict[str, Any], goals: tuple[str, ...], **machine: Any) -> dict[str, Any]:
    keys = ("sha256", "threads", "batch", "scenario", "runtime", "spinning")
    told = {**{key: value[key] for key in keys}, "affinity": None}
    here = {"host": "raspberrypi", "cpu": "Cortex-A72", "cores": 4, "architecture": "aarch64", **machine}
    return {"format": 1, "machine": here, **dict.fromkeys(goals, told)}


def test_what_was_recommended_is_marked_on_its_own_machine_alone(make: Any, tmp_path: Path) -> None:
    way = {"spinning": True, "pinned": False, "affinity": [0, 1], "batch": 1}
    first, second = make.config("m.onnx", **way), make.config("m.onnx", threads=2, p50_s=0.001, **way)
    make.result(tmp_path / "r.json", [first, second])
    make.result(tmp_path / "other.json", [second], host="elsewhere")
    write_json(tmp_path / "recommended.json", recommendation(second, ("latency", "throughput")))
    lineage = link(gather([tmp_path]))
    told = {(c.result.label, c.threads): c.best for c in lineage.configs}
    assert told == {("r.json", 1): (), ("r.json", 2): ("latency", "throughput"), ("other.json", 2): ()}
    text = write_report([tmp_path], tmp_path / "r.html").out.read_text()
    assert text.count("best latency and throughput") == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 1, "machine": 3, "latency": []}'])
def test_a_strange_recommendation_breaks_nothing(make: Any, tmp_path: Path, text: str) -> None:
    make.result(tmp_path / "r.json", [make.config("m.onnx", runs=40)])
    (tmp_path / "recommended.json").write_text(text)
    assert link(gather([tmp_path])).configs[0].best == ()
