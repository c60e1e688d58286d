from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.errors import DeviceError, FormatError, WouldOverwriteError
from edgexfer.results import (
    bench,
    compare_files,
    compare_many,
    percentile,
    ratio_of_medians,
    read_result,
    run_bench,
    summary,
)
from edgexfer.results.observed import observation
from edgexfer.version import __version__
from tests.device import artifacts
from tests.results.resultfiles import MACHINE, config, noisy, save

# --- statistics


@pytest.mark.parametrize(("percent", "least"), [(50, 1), (90, 64), (95, 130), (99, 662)])
def test_percentiles_need_enough_samples(percent: int, least: int) -> None:
    values = [float(v) for v in range(1, least + 1)]
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-12)
    assert percentile(values[:-1], percent) is None


def test_the_summary_is_the_devices() -> None:
    found = summary([0.3, 0.1, 0.2])
    assert found["p50_s"] == 0.2 and found["p90_s"] is None and found["max_s"] == 0.3 and found["runs"] == 3


def test_an_unknown_percentile_is_refused() -> None:
    with pytest.raises(DeviceError, match="no percentile 42 is reported; allowed: 50, 90, 95, 99"):
        percentile([1.0], 42)


def test_the_interval_is_seeded_and_holds_the_ratio() -> None:
    first, second = noisy(0.01, 1), noisy(0.02, 2)
    found = ratio_of_medians(first, second)
    assert found == ratio_of_medians(first, second) != ratio_of_medians(first, second, seed=1)
    assert found.ratio == pytest.approx(np.median(second) / np.median(first), rel=1e-12)
    assert found.low < found.ratio < found.high and found.low > 1.9 and found.difference_shown


def test_the_interval_agrees_with_a_plain_bootstrap_of_independent_times() -> None:
    first, second = noisy(0.01, 3, 500), noisy(0.0102, 4, 500)
    rng = np.random.default_rng(0)
    plain = [np.median(rng.choice(second, 500)) / np.median(rng.choice(first, 500)) for _ in range(2000)]
    found = ratio_of_medians(first, second)
    width = np.quantile(plain, 0.975) - np.quantile(plain, 0.025)
    assert found.high - found.low == pytest.approx(width, rel=0.35)
    assert found.low == pytest.approx(np.quantile(plain, 0.025), abs=0.35 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    held = sum(
        found.low <= 1.0 <= found.high
        for found in (ratio_of_medians(noisy(0.01, 2 * i, 150), noisy(0.01, 2 * i + 1, 150)) for i in range(100, 140))
    )
    assert 33 <= held <= 40


def test_times_that_hang_together_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    drift = np.repeat(rng.normal(0, 0.05, 40), 50)
    slow = 0.01 * np.exp(drift + rng.normal(0, 0.005, 2000))
    mixed = rng.permutation(slow)
    spans = [ratio_of_medians([0.01] * 50, [float(v) for v in times]) for times in (slow, mixed)]
    assert spans[0].high - spans[0].low > 2 * (spans[1].high - spans[1].low)


def test_half_a_million_times_are_no_trouble() -> None:
    found = ratio_of_medians(noisy(0.001, 7, 500_000), noisy(0.001003, 8, 500_000))
    assert found.ratio == pytest.approx(1.003, abs=5e-4) and found.high - found.low < 2e-3
    assert found.low < found.ratio < found.high


def test_what_differs_from_run_to_run_widens_the_interval() -> None:
    rng = np.random.default_rng(6)
    levels = 0.01 * np.exp(rng.normal(0, 0.02, 8))  # each process has its own speed
    times = [float(v) for level in levels for v in level * rng.lognormal(0, 0.002, 200)]
    plain = ratio_of_medians([0.01] * 50, times)
    honest = ratio_of_medians([0.01] * 50, times, second_runs=[200] * 8)
    assert honest.ratio == plain.ratio and honest.low < honest.ratio < honest.high
    spread = np.std([np.median(rng.choice(levels, 8)) for _ in range(4000)]) / 0.01
    assert (honest.high - honest.low) / 3.92 == pytest.approx(spread, rel=0.3)
    assert honest.high - honest.low > 1.5 * (plain.high - plain.low)


def test_equal_times_give_an_interval_of_one_point() -> None:
    found = ratio_of_medians([0.01] * 40, [0.01] * 40)
    assert (found.low, found.ratio, found.high) == (1, 1, 1) and not found.difference_shown


def test_too_few_or_impossible_times_are_refused() -> None:
    with pytest.raises(DeviceError, match="second result has 29 timed inferences; an interval needs 30"):
        ratio_of_medians([0.1] * 30, [0.1] * 29)
    with pytest.raises(DeviceError, match=r"first result holds a time of 0\.0 s; expected above 0"):
        ratio_of_medians([0.0] * 30, [0.1] * 30)


# --- reading


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = read_result(save(tmp_path / "a.json", config(), config(threads=4)))
    assert found.machine["host"] == "pi" and not found.emulated and found.created.startswith("2025")
    assert [c.threads for c in found.configs] == [1, 4] and found.configs[0].timed
    assert found.configs[0].latency_s == tuple(noisy(0.01, 1)) and found.configs[0].affinity == (0, 1, 2, 3)
    with pytest.raises(AttributeError):
        found.emulated = True  # type: ignore[misc]


def test_a_foreign_models_blanks_are_read(tmp_path: Path) -> None:
    blank = config(precision=None, network=None, parent_sha256=None, verified=None, top1=None, affinity=None)
    assert read_result(save(tmp_path / "a.json", blank)).configs[0].verified is None


@pytest.mark.parametrize(
    ("configs", "changes", "message"),
    [
        ([], {"format": 2, "edgexfer_version": "9.9"}, "format 2, written by edgexfer 9.9"),
        ([], {"configs": None}, "no list of 'configs'; name a file that edgexfer bench"),
        ([], {"machine": None}, "malformed: machine is missing; bench again"),
        ([], {"emulated": 1}, "emulated is 1; expected true or false"),
        ([], {"configs": [3]}, r"configs\[0\] is 3; expected an object"),
        ([config(sha256=None)], {}, r"configs\[0\].sha256 is missing"),
        ([config(threads="1")], {}, "threads is '1'; expected a whole number from 0 up"),
        ([config(load_s=-1)], {}, "load_s is -1; expected a number from 0 up"),
        ([config(load_s=10**400)], {}, "load_s is 10+; expected a number from 0 up"),
        ([config(threads=10**400)], {}, "threads is 10+; expected a whole number from 0 up"),
        ([config(latency_s=[10**400])], {}, r"latency_s\[0\] is 10+; expected seconds from 0 up"),
        ([config(top1=90)], {}, "top1 is 90; expected a fraction from 0 to 1"),
        ([config(latency_s=[0.1, "x"])], {}, r"latency_s\[1\] is 'x'; expected seconds from 0 up"),
        ([config(latency_s=[float("nan")])], {}, r"latency_s\[0\] is nan"),
        ([config(latency_s=3)], {}, "latency_s is 3; expected a list"),
        ([config(model=3)], {}, "model is 3; expected a text"),
    ],
)
def test_a_result_that_is_none(tmp_path: Path, configs: list[Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_result(save(tmp_path / "a.json", *configs, **changes))


def test_a_missing_result(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot read the benchmark result"):
        read_result(tmp_path / "lost.json")


# --- comparing


def test_two_machines(tmp_path: Path) -> None:
    first = save(tmp_path / "a.json", config(), config(threads=4))
    quick = [config(latency_s=noisy(0.005, 2)), config(threads=4, latency_s=noisy(0.01, 3))]
    second = save(tmp_path / "b.json", *quick, machine={**MACHINE, "host": "pi5", "cpu": "Cortex-A76"})
    found = compare_files(first, second, "machine")
    assert [p.first.threads for p in found.pairs] == [p.second.threads for p in found.pairs] == [1, 4]
    quicker, level = found.sentence().splitlines()
    assert "student.onnx (1 thread) on 'pi5'" in quicker and "times faster than" in quicker
    assert level.startswith("no difference shown between") and "95% interval" in level
    value = json.loads(json.dumps(found.to_dict()))
    assert value["pairs"][0]["ratio"] == pytest.approx(0.5, abs=0.01)
    assert value["pairs"][0]["difference_shown"] and not value["pairs"][1]["difference_shown"]
    assert value["pairs"][0]["differs"]["machine.cpu"] == ["Cortex-A72", "Cortex-A76"]
    assert value["pairs"][0]["first"]["p95_s"] and value["pairs"][0]["first"]["p99_s"] is None


INT8 = {"model": "student.int8.onnx", "sha256": "bb", "parent_sha256": "aa", "precision": "int8"}
OTHER = {
    "model": "o.onnx",
    "sha256": "cc",
    "network": "other",
    "parent_sha256": "11",
    "input": {"image": ["uint8", [1]]},
}


@pytest.mark.parametrize(
    ("vary", "changes", "said"),
    [
        ("precision", INT8, "student.int8.onnx (int8, 1 thread) is 2.0"),
        ("model", OTHER, "o.onnx (1 thread) is 2.0"),
        ("threads", {"threads": 2}, "student.onnx (2 threads) is 2.0"),
        ("runtime", {"runtime_version": "1.23"}, "student.onnx (onnxruntime 1.23, 1 thread) is 2.0"),
    ],
)
def test_the_declared_variable_may_differ(tmp_path: Path, vary: str, changes: dict[str, Any], said: str) -> None:
    first = save(tmp_path / "a.json")
    second = save(tmp_path / "b.json", config(**changes, latency_s=noisy(0.02, 2)))
    sentence = compare_files(first, second, vary).sentence()
    assert sentence.startswith(said[:-1]) and "times slower than student.onnx" in sentence


@pytest.mark.parametrize(
    ("vary", "changes", "message"),
    [
        ("machine", {"threads": 2}, "differ in more than machine: threads is 1 and 2"),
        ("threads", INT8, 'sha256 is "aa" and "bb"'),
        ("model", INT8, 'more than model: precision is "float32" and "int8"; bench again with these equal'),
        ("threads", {"runtime_version": "1.23"}, 'runtime_version is "1.20" and "1.23"'),
        ("threads", {"session": {"execution_mode": "parallel"}}, "session.execution_mode is"),
        ("precision", {**INT8, "parent_sha256": "dd"}, 'more than precision: parent_sha256 is "00" and "dd"'),
        ("model", {"affinity": [0]}, r"affinity is \[0, 1, 2, 3\] and \[0\]"),
    ],
)
def test_anything_else_may_not(tmp_path: Path, vary: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        compare_files(save(tmp_path / "a.json"), save(tmp_path / "b.json", config(**changes)), vary)


def test_the_machine_is_compared_but_not_a_little_memory(tmp_path: Path) -> None:
    first = save(tmp_path / "a.json")
    second = save(tmp_path / "b.json", machine={**MACHINE, "memory_bytes": 3_990_000_000})
    assert "no difference shown" in compare_files(first, second, "model").sentence()
    save(second, machine={**MACHINE, "governor": "performance", "memory_bytes": 8_000_000_000})
    with pytest.raises(DeviceError, match='memory_bytes is 4000000000 and 8000000000; machine.governor is "ondemand"'):
        compare_files(first, second, "model")
    save(second, settings={"min_seconds": 1.0, "min_runs": 100})
    with pytest.raises(DeviceError, match=r"settings.min_seconds is 10\.0 and 1\.0"):
        compare_files(first, second, "machine")


def test_another_name_of_the_same_file_is_no_difference(tmp_path: Path) -> None:
    second = save(tmp_path / "b.json", config(model="renamed.onnx"))
    assert compare_files(save(tmp_path / "a.json"), second, "machine").pairs[0].second.model == "renamed.onnx"


def test_what_has_no_counterpart_is_told(tmp_path: Path) -> None:
    first = save(tmp_path / "a.json", config(), config(threads=4))
    second = save(tmp_path / "b.json", config(), config(**INT8, status="wrong answers", latency_s=[]))
    found = compare_files(first, second, "machine")
    assert len(found.pairs) == 1 and len(found.left_out) == 2
    assert "student.onnx with 4 threads" in found.left_out[0] and "no counterpart" in found.left_out[0]
    assert "wrong answers" in found.sentence()


def test_several_counterparts_are_refused(tmp_path: Path) -> None:
    second = save(tmp_path / "b.json", config(), config(threads=4))
    with pytest.raises(DeviceError, match="several counterparts that differ only in threads; bench one threads a file"):
        compare_files(save(tmp_path / "a.json"), second, "threads")


def test_emulated_and_untimed_results_are_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "a.json")
    with pytest.raises(DeviceError, match="taken on an emulated processor.*bench on the device itself"):
        compare_files(good, save(tmp_path / "b.json", emulated=True), "machine")
    with pytest.raises(DeviceError, match=r"holds no times \(not timed\); bench again without --verify-only"):
        compare_files(good, save(tmp_path / "b.json", config(latency_s=[])), "machine")
    with pytest.raises(DeviceError, match="holds no times"):
        compare_files(good, save(tmp_path / "b.json", config(status="interrupted")), "machine")


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="called 'weather' that could vary; allowed: model, precision, threads"):
        compare_files(tmp_path / "a.json", tmp_path / "b.json", "weather")


def test_what_was_observed_is_shown_not_compared(tmp_path: Path) -> None:
    state = {"temperature_c": 60.0, "clock_hz": 1.8e9, "load_1min": 0.5, "throttled": {"live": [], "sticky": ["x"]}}
    hot = {**state, "temperature_c": 82.0, "clock_hz": 6e8, "throttled": {"live": ["throttled"]}}
    first = save(tmp_path / "a.json", config(observed={"before": state, "during": [], "after": state}))
    second = save(tmp_path / "b.json", config(observed={"before": state, "during": [hot], "after": None}))
    found = compare_files(first, second, "machine")
    assert found.sentence().endswith("the board reported throttled meanwhile")
    seen = found.to_dict()["pairs"][0]["second"]["observed"]
    assert (seen["temperature_c"], seen["clock_hz"], seen["throttled"]) == (82.0, 6e8, ["throttled"])
    assert observation({"during": 3, "before": {"temperature_c": "warm", "throttled": {"live": None}}})["note"] == ""


# --- measuring


def measured(target: Path, out: Path | None, **changes: Any) -> Path:
    options = {"min_seconds": 0.0, "min_runs": 40, "threads": "1", "verify_only": False, "force": False}
    return run_bench(target, out=out, **{**options, **changes})


def test_run_bench_measures_and_its_result_can_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEXFER_EMULATED", raising=False)
    made = measured(artifacts.write(tmp_path / "student.onnx"), tmp_path / "r.json")
    assert made == tmp_path / "r.json"
    found = read_result(made)
    assert found.edgexfer_version == __version__ and found.configs[0].verified is True
    talk = capsys.readouterr()
    assert talk.out == "" and "[1/1] student.onnx" in talk.err and "images/s" in talk.err
    if not found.emulated:
        assert len(found.configs[0].latency_s) >= 40
        assert "no difference shown" in compare_files(made, made, "machine").sentence()


def test_run_bench_names_its_result_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.write(tmp_path / "-odd.onnx")
    made = measured(Path("-odd.onnx"), None, verify_only=True)
    assert made.name.startswith("bench-") and read_result(made).configs[0].scenario == "verify-only"


def test_run_bench_replaces_only_when_told(tmp_path: Path) -> None:
    model, out = artifacts.write(tmp_path / "student.onnx"), tmp_path / "r.json"
    out.write_text("mine")
    with pytest.raises(WouldOverwriteError, match="--force"):
        measured(model, out)
    assert out.read_text() == "mine"
    assert read_result(measured(model, out, verify_only=True, force=True)).configs[0].status == "ok"


def test_wrong_answers_become_an_error_that_names_the_result(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^'.*bad.onnx' gives wrong answers.*what was measured is in '.*r\.json'$"):
        measured(artifacts.write(tmp_path / "bad.onnx", shift=1.0), tmp_path / "r.json")
    assert read_result(tmp_path / "r.json").configs[0].status == "wrong answers"


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (lambda home: home / "lost.onnx", {}, "there is no '.*lost.onnx'; name an ONNX file or a bundle folder"),
        (lambda home: touched(home / "kit.tar.gz"), {}, "is a packed bundle; unpack it with tar xf kit.tar.gz"),
        (lambda home: home, {}, "^'.*' holds no ONNX file; name one, or a bundle folder$"),
        (lambda home: home, {"threads": "0"}, "^argument --threads: '0' is not a number from 1 up$"),
    ],
)
def test_errors_of_a_run(tmp_path: Path, make: Callable[[Path], Path], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        measured(make(tmp_path), tmp_path / "r.json", **changes)


def touched(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "ended by signal 9; its last words: it said nothing",
        ),
        ("raise ValueError('odd')", "bench.py failed with exit code 1: ValueError: odd"),
        ("print('r.json')", r"ended well but left no result \('r.json\\n'\); name one with --out"),
        ("import sys; print('x' * 500_000); sys.exit('bench.py: disk full')", "^disk full$"),
    ],
)
def test_a_script_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(script)
    monkeypatch.setattr(bench, "script", lambda name: tmp_path / "broken.py")
    with pytest.raises(DeviceError, match=message):
        measured(touched(tmp_path / "m.onnx"), None)


def test_repeated_runs_count_as_one_side(tmp_path: Path) -> None:
    faster = {"precision": "int8", "sha256": "bb", "parent_sha256": "aa", "model": "student.int8.onnx"}
    first = [save(tmp_path / f"a{i}.json", config(latency_s=noisy(0.01 * (1 + 0.01 * i), i))) for i in range(3)]
    second = [save(tmp_path / f"b{i}.json", config(latency_s=noisy(0.005, 9 + i), **faster)) for i in range(2)]
    (found,) = compare_many([first[0], second[0], *first[1:], second[1]], "precision")
    (pair,) = found.pairs
    assert (len(pair.first.latency_s), pair.first.runs, pair.second.runs) == (600, (200,) * 3, (200,) * 2)
    assert pair.interval.ratio == pytest.approx(0.495, abs=0.01) and pair.interval.difference_shown
    assert found.to_dict()["pairs"][0]["first"]["rounds"] == 3
    threads = [save(tmp_path / f"t{n}.json", config(threads=n, latency_s=noisy(0.01 / n, n))) for n in (1, 2, 4)]
    found2, found4 = compare_many(threads, "threads")
    assert found2.pairs[0].second.threads == 2 and found4.pairs[0].interval.ratio == pytest.approx(0.25, rel=0.05)
    with pytest.raises(DeviceError, match="all 3 results are runs of one thing, so threads does not vary"):
        compare_many(first, "threads")
    with pytest.raises(DeviceError, match="1 result cannot be compared; name two or more"):
        compare_many(first[:1], "threads")


def test_what_one_of_repeated_runs_saw_is_not_lost(tmp_path: Path) -> None:
    calm = {"temperature_c": 50.0, "throttled": {"live": [], "sticky": []}}
    hot = {"temperature_c": 82.0, "throttled": {"live": ["throttled"], "sticky": []}}
    steady = {"observed": {"before": calm, "during": [], "after": calm}, "stability": {"stable": True}}
    shaken = {"observed": {"before": calm, "during": [hot], "after": calm}, "stability": {"stable": False}}
    paths = [save(tmp_path / f"{i}.json", config(**facts)) for i, facts in enumerate((steady, shaken))]
    other = save(tmp_path / "other.json", config(threads=2, **steady))
    (found,) = compare_many([*paths, other], "threads")
    side = found.to_dict()["pairs"][0]["first"]
    assert side["stable"] is False and side["observed"]["temperature_c"] == 82.0
    assert "the board reported throttled meanwhile" in found.sentence() and "was unstable" in found.sentence()


def test_rounds_and_verdicts_are_read(tmp_path: Path) -> None:
    rounds = [{"begin": 0, "count": 120}, {"begin": 120, "count": 80}]
    shaky = save(tmp_path / "a.json", config(rounds=rounds, stability={"stable": False}, head="head.npz"))
    (read,) = read_result(shaky).configs
    assert (read.runs, read.stable, read.head) == ((120, 80), False, "head.npz")
    second = save(tmp_path / "b.json", config(rounds=rounds, latency_s=noisy(0.02, 2)))
    assert "was unstable when it was measured" in compare_files(shaky, second, "head").sentence()
    with pytest.raises(DeviceError, match='head is "head.npz" and null'):
        compare_files(shaky, second, "threads")
    for rounds in ([{"count": "many"}], [3.5]):
        save(tmp_path / "c.json", config(rounds=rounds))
        with pytest.raises(FormatError, match=r"rounds\[0\].count is .*; expected a whole number"):
            read_result(tmp_path / "c.json")
