"""What there is to choose from: artifacts joined with what was measured of them, on one machine, scored in one way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgexfer.errors import DeviceError, FormatError
from edgexfer.report.lineage import link
from edgexfer.report.machines import SAME, by_machine, machine_name
from edgexfer.report.measured import SINGLE, Config
from edgexfer.report.records import Found, FoundArtifact
from edgexfer.results import Accuracy, Candidate, median_interval, percentile, read_result
from edgexfer.results import Config as Timed
from edgexfer.words import counted
from edgexfer.workflows.recorded import on_device, on_workstation

STATISTICS = {"p50": 50, "p90": 90}
FOREIGN = "written by another program, so nothing tells what it classifies"


@dataclass(frozen=True)
class Wishes:
    """How candidates are to be looked at.

    Attributes:
        statistic: One of ``STATISTICS``, the latency that the budget is about.
        threads: Only measurements with so many threads; all if ``None``.
        machine: Host or name of the machine, where there are several.
        with_memory: Whether a candidate has to have its memory measured.
    """

    statistic: str = "p50"
    threads: int | None = None
    machine: str | None = None
    with_memory: bool = False


@dataclass
class Gathered:
    """What can be chosen from, and what cannot.

    Attributes:
        machine: The machine's name.
        source: A sentence on where the accuracies come from.
        candidates: All on that machine, all scored in one way.
        left_out: A sentence for each thing that was not taken.
    """

    machine: str
    source: str = ""
    candidates: list[Candidate] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Entry:
    """One artifact in one configuration, with all its times."""

    config: Config
    timed: Timed
    latency_s: tuple[float, ...]
    runs: tuple[int, ...]
    memory_bytes: int | None

    @property
    def artifact(self) -> FoundArtifact | None:
        return self.config.artifact

    @property
    def name(self) -> str:
        return self.config.title


def gather_candidates(
    found: Found, wishes: Wishes, scores: Mapping[str, Accuracy] | None = None, scored_on: str = ""
) -> Gathered:
    """Joins artifacts with their measurements.

    Args:
        found: What lies under the paths that the user named.
        wishes: How they are looked at.
        scores: Accuracies by SHA-256, where they were measured just now; else what is recorded counts.
        scored_on: What those were measured on, in words.

    Raises:
        DeviceError: Nothing was timed, on this machine or at all, or there are several machines and none was named.
    """
    left_out = list(found.notes)
    usable = list(_usable(found, wishes, left_out))
    if not usable:
        raise DeviceError(_nothing(found, left_out))
    group = _of_one_machine(usable, wishes.machine)
    gathered = Gathered(machine_name(group[0][0].result), left_out=left_out)
    left_out += _unmeasured(found, group, wishes, gathered.machine)
    entries = _joined(group)
    named = [entry for entry in entries if _has_file(entry, gathered)]
    scored, gathered.source = _scored(named, scores, scored_on, gathered)
    _check_classes([entry for entry, _ in scored])
    for entry, accuracy in scored:
        candidate = _candidate(entry, accuracy, wishes, gathered)
        if candidate is not None:
            gathered.candidates.append(candidate)
    if not gathered.candidates:
        raise DeviceError(_nothing(found, gathered.left_out))
    return gathered


def _usable(found: Found, wishes: Wishes, left_out: list[str]) -> Iterator[tuple[Config, Timed]]:
    """Single pictures timed on a real machine, with the right answers."""
    emulated = [result.label for result in found.results if result.emulated]
    left_out += [f"{label}: taken on an emulated processor, whose times are no latencies" for label in emulated]
    validated = {}
    for result in found.results:
        try:
            validated[result.path] = read_result(result.path).configs
        except FormatError as error:
            left_out.append(str(error))
    for config in link(found).configs:
        if config.result.path not in validated or config.result.emulated:
            continue
        timed = validated[config.result.path][config.index]
        why = config.refusal or _unfit(timed, wishes)
        if why is None:
            yield config, timed
        elif why:
            left_out.append(f"{config.title} in {config.result.label}: {why}")


def _unfit(timed: Timed, wishes: Wishes) -> str | None:
    """Why a measurement does not count here; an empty text where that needs no mention."""
    if timed.scenario != SINGLE or timed.batch != 1 or timed.head is not None:
        return ""
    return "" if wishes.threads is not None and timed.threads != wishes.threads else None


def _unmeasured(found: Found, group: Sequence[tuple[Config, Timed]], wishes: Wishes, machine: str) -> Iterator[str]:
    """A sentence for each artifact that has no time there, where none tells of it yet."""
    told = {timed.sha256 for _, timed in group}
    told |= {str(c.value.get("sha256")) for c in link(found).configs if c.refusal and not c.result.emulated}
    how = "" if wishes.threads is None else f" with {counted(wishes.threads, 'thread')}"
    for artifact in found.artifacts:
        if artifact.sha256 not in told:
            why = f"no time of single pictures on {machine}{how}; bench it there too"
            yield f"{artifact.label}: {FOREIGN if artifact.info is None else why}"


def _nothing(found: Found, left_out: Sequence[str]) -> str:
    reasons = "; ".join(left_out)
    told = f" ({reasons})" if reasons else ""
    if not found.results:
        return f"there is no benchmark result to choose by{told}; bench the artifacts, or pass --on DEVICE"
    return (
        f"of {len(found.results)} benchmark results none can be chosen by{told}; bench single pictures on the device"
        " itself, or pass --on DEVICE, other --threads, or --data DATA where the accuracy is missing"
    )


def _of_one_machine(usable: list[tuple[Config, Timed]], wish: str | None) -> list[tuple[Config, Timed]]:
    """The measurements of one machine; emulated ones are no longer among them.

    Raises:
        DeviceError: There are several, and the wish names none or not one of them.
    """
    groups = by_machine([config for config, _ in usable])
    told = [_machine_words(group[0]) for group in groups]
    if wish is not None:
        fitting = [group for group in groups if wish.casefold() in _machine_names(group[0])]
    else:
        fitting = groups
    if not fitting:
        raise DeviceError(f"nothing was measured on {wish!r}; measured were: {'; '.join(told)}")
    if len(fitting) > 1:
        differing = [key for key in SAME if len({str(g[0].result.machine.get(key)) for g in fitting}) > 1]
        hosts = {str(group[0].result.machine.get("host")) for group in fitting}
        remedy = "choose with --machine HOST" if len(hosts) == len(fitting) else "name the results of one of them only"
        raise DeviceError(
            f"latencies of {len(fitting)} machines are not mixed (they differ in {', '.join(differing)}):"
            f" {'; '.join(told)}; {remedy}"
        )
    members = {id(config) for config in fitting[0]}
    return [pair for pair in usable if id(pair[0]) in members]


def _machine_names(config: Config) -> set[str]:
    machine = config.result.machine
    names = (machine.get("host"), machine.get("board"), machine.get("cpu"), machine_name(config.result))
    return {str(name).casefold() for name in names if name}


def _machine_words(config: Config) -> str:
    machine = config.result.machine
    governor = f", governor {machine['governor']}" if machine.get("governor") else ""
    return f"{machine.get('host')} ({machine_name(config.result)}{governor}), as in {config.result.label}"


def _joined(group: list[tuple[Config, Timed]]) -> list[_Entry]:
    """Repeated measurements of one thing put together."""
    alike: dict[str, list[tuple[Config, Timed]]] = {}
    for config, timed in group:
        key = (timed.sha256, timed.threads, timed.runtime, timed.runtime_version, timed.affinity, dict(timed.session))
        alike.setdefault(json.dumps(key, sort_keys=True), []).append((config, timed))
    return [_together(pairs) for pairs in alike.values()]


def _together(pairs: list[tuple[Config, Timed]]) -> _Entry:
    timed = [one for _, one in pairs]
    memory = [one.peak_rss_bytes for one in timed if one.peak_rss_bytes is not None]
    return _Entry(
        *pairs[0],
        latency_s=tuple(time for one in timed for time in one.latency_s),
        runs=tuple(count for one in timed for count in (one.runs or (len(one.latency_s),))),
        memory_bytes=max(memory, default=None),
    )


def _has_file(entry: _Entry, gathered: Gathered) -> bool:
    if entry.artifact is None:
        gathered.left_out.append(
            f"{entry.name}: measured, but its file (SHA-256 {entry.timed.sha256[:12]}) is not under the paths given"
        )
    elif entry.artifact.info is None:
        gathered.left_out.append(f"{entry.name}: {FOREIGN}")
    return entry.artifact is not None and entry.artifact.info is not None


def _check_classes(entries: Sequence[_Entry]) -> None:
    """Refuses to compare what answers different questions.

    Raises:
        DeviceError: There are two sets of classes.
    """
    by_classes: dict[tuple[str, ...], str] = {}
    for entry in entries:
        if entry.artifact is not None:
            classes = tuple(map(str, (entry.artifact.info or {}).get("classes", ())))
            by_classes.setdefault(tuple(sorted(classes)), entry.artifact.label)
    if len(by_classes) > 1:
        told = "; ".join(f"{label} knows {', '.join(names[:5])}" for names, label in by_classes.items())
        raise DeviceError(f"artifacts of different classes are no choice: {told}; name those of one task only")


_Score = Callable[[_Entry], Accuracy | None]


def _scored(
    entries: Sequence[_Entry], scores: Mapping[str, Accuracy] | None, scored_on: str, gathered: Gathered
) -> tuple[list[tuple[_Entry, Accuracy]], str]:
    """Each entry with its accuracy, all from one source: the one that knows most of them."""
    sources: list[tuple[str, _Score]] = [
        ("accuracy is what the device scored on{} labelled pictures", lambda e: on_device(e.config, e.timed)),
        ("accuracy is what the workstation scored on{} held-out pictures", lambda e: on_workstation(e.config)),
    ]
    if scores is not None:
        sources = [(f"accuracy is what was scored now on{{}} {scored_on}", lambda e: scores.get(e.timed.sha256))]
    answers = [(words, [(entry, score(entry)) for entry in entries]) for words, score in sources]
    words, told = max(answers, key=lambda answer: sum(accuracy is not None for _, accuracy in answer[1]))
    known = [(entry, accuracy) for entry, accuracy in told if accuracy is not None]
    gathered.left_out += [
        f"{entry.name}: its accuracy is not known from the same source; pass --data DATA to score all of them"
        for entry, accuracy in told
        if accuracy is None
    ]
    counts = sorted({accuracy.images for _, accuracy in known if accuracy.images})
    return known, words.format(
        "".join(f" {' to '.join(f'{n:,}' for n in sorted({counts[0], counts[-1]}))}" for _ in counts[:1])
    )


def _candidate(entry: _Entry, accuracy: Accuracy, wishes: Wishes, gathered: Gathered) -> Candidate | None:
    latency = percentile(entry.latency_s, STATISTICS[wishes.statistic])
    if latency is None:
        gathered.left_out.append(
            f"{entry.name}: {len(entry.latency_s)} times are too few for {wishes.statistic}; bench with --min-runs 100"
        )
        return None
    if wishes.with_memory and entry.memory_bytes is None:
        gathered.left_out.append(f"{entry.name}: its memory was not measured")
        return None
    artifact = entry.artifact
    if artifact is None:
        return None
    runtime = "" if entry.timed.runtime == "onnxruntime" else f" ({entry.timed.runtime})"
    return Candidate(
        name=artifact.label.removesuffix(".onnx") + runtime,
        path=artifact.path,
        sha256=artifact.sha256,
        precision=artifact.precision,
        threads=entry.timed.threads,
        accuracy=accuracy,
        latency_s=latency,
        size_bytes=artifact.size_bytes,
        memory_bytes=entry.memory_bytes,
        interval_s=median_interval(entry.latency_s, entry.runs) if wishes.statistic == "p50" else None,
        notes=("unstable when it was measured",) if entry.timed.stable is False else (),
    )
