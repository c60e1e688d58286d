"""What a search inside a budget is worth: half of Tiny-darknet's latency, by `choose --search` or by fewer pixels.

    python benchmarks/choose.py DATA --teacher cifar-resnet20 --teacher-weights resnet20.th --work DIR

For each seed three students learn from one teacher with as many epochs: `whole`, Tiny-darknet at the pictures' size;
`shrunk`, Tiny-darknet at the largest input that takes half of its latency or less, both in float32; and `found`, what
the search comes to with half of that latency as its budget. All files are measured in the same turns at the end. The
aim: `found` loses less than half of the accuracy that `shrunk` loses, on test, which chose nothing.

What the result file holds already is not made again, and an interrupted training or search goes on.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from record import header

from edgexfer.files import read_json, sha256_file, write_json
from edgexfer.results import Budget, percentile, read_result
from edgexfer.runs import is_run, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.candidates import Wishes
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.measuring import Measuring, measure
from edgexfer.workflows.search import search
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.shapes import Shape, untrained
from edgexfer.workflows.train import Start, Target

RESULT = Path(__file__).parent / "results" / "choose.json"
NETWORK = "tiny-darknet"
STUDENTS = "tiny-darknet,tiny-darknet-0.75,tiny-darknet-0.5,tiny-darknet-0.75+relu"
SMALLEST, STEP = 16, 4


@dataclass(frozen=True)
class Bench:
    """One benchmark.

    Attributes:
        data: The pictures.
        teacher: Who teaches all students.
        work: Runs and searches go there.
        size: Side of the whole input.
        epochs: Of every full training.
        students: Networks that the search tries.
        sizes: Input sizes that it tries.
        seconds: Least time that a file is measured.
    """

    data: DataChoice
    teacher: Start
    work: Path
    size: int
    epochs: int
    students: tuple[str, ...]
    sizes: tuple[int, ...]
    seconds: float

    def recipe(self, seed: int) -> Recipe:
        """Wishes for every training of a seed."""
        return Recipe(epochs=self.epochs, device="cpu", seed=seed)

    def latencies_s(self) -> dict[int, float]:
        """Tiny-darknet's median latency at each input size, untrained, float32, in the same turns."""
        splits = self.data.load()
        with tempfile.TemporaryDirectory() as place:
            sizes = range(SMALLEST, self.size + 1, STEP)
            files = {side: untrained(Shape(NETWORK, side), splits, Path(place), Silent())["float32"] for side in sizes}
            how = Measuring(out=Path(place) / "results", min_seconds=self.seconds)
            (result,) = measure(list(files.values()), how, Silent())
            found = {config.sha256: percentile(config.latency_s, 50) for config in read_result(result).configs}
            return {side: found[sha256_file(path)] or 0.0 for side, path in files.items()}

    def trained(self, size: int, seed: int) -> tuple[Path, float | None]:
        """Tiny-darknet at a size, exported in float32, and what it scores on test."""
        run = self.work / f"{NETWORK}-{size}-{seed}"
        recipe = Recipe(image_size=size, epochs=self.epochs, device="cpu", seed=seed)
        target = Target(run, resume=is_run(run) or (run / "resume").is_dir(), force=not is_run(run))
        distill_data(self.data, [Start(NETWORK)], [self.teacher], recipe, target, Silent(), Teaching())
        out = self.work / f"exported-{seed}" / f"{NETWORK}-{size}.onnx"
        if not out.is_file():
            export_run(run, out, ExportChoice(), Silent(), force=True)
        return out, read_run(run).scores["test_top1"]

    def found(self, budget_s: float, seed: int) -> dict[str, Any]:
        """What the search comes to."""
        plan = SearchPlan(
            self.data,
            (self.teacher,),
            Budget(budget_s),
            Wishes(),
            Measuring(min_seconds=self.seconds),
            self.students,
            self.sizes,
            self.recipe(seed),
            paths=(self.work / f"exported-{seed}",),
        )
        out = self.work / f"search-{seed}"
        resume = (out / "trace.jsonl").is_file()
        return search(plan, out, Told(), lambda _: None, resume=resume).to_dict()


class Told(Silent):
    """Prints what a search says."""

    def say(self, text: str) -> None:
        """Prints it."""
        print("   ", text, flush=True)

    def warn(self, text: str) -> None:
        """Prints it."""
        print("   ", text, flush=True)


def main() -> None:
    """Makes what is missing of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--teacher-weights", default="none")
    parser.add_argument("--work", type=Path, required=True, help="for runs and searches; may be used again")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--students", default=STUDENTS)
    parser.add_argument("--sizes", default="24,32")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(
        DataChoice(options.data),
        Start(options.teacher, options.teacher_weights),
        options.work,
        options.size,
        options.epochs,
        tuple(options.students.split(",")),
        tuple(int(side) for side in options.sizes.split(",")),
        options.seconds,
    )
    kept = read_json(options.out, "result") if options.out.is_file() else {}
    latencies = {int(side): value for side, value in kept.get("untrained_s", {}).items()} or bench.latencies_s()
    rows: dict[str, Any] = kept.get("seeds", {})
    for seed in options.seeds.split(","):
        if seed not in rows:
            rows[seed] = measure_seed(bench, latencies, int(seed))
            told = {"untrained_s": {str(side): value for side, value in latencies.items()}, "seeds": rows}
            write_json(options.out, {**header(), **told, "summary": summary(rows)})
        print(words(seed, rows[seed]), flush=True)
    print(summary(rows))


def measure_seed(bench: Bench, latencies: dict[int, float], seed: int) -> dict[str, Any]:
    """The three students of a seed."""
    budget = latencies[bench.size] / 2
    fitting = [side for side, seconds in latencies.items() if seconds <= budget]
    shrunk = max(fitting, default=min(latencies))
    files = {"whole": bench.trained(bench.size, seed), "shrunk": bench.trained(shrunk, seed)}
    found = bench.found(budget, seed)
    finals = {one["sha256"]: one for one in found["candidates"]}
    row: dict[str, Any] = {"budget_s": budget, "shrunk_size": shrunk}
    for arm, (path, test) in files.items():
        row[arm] = {"test_top1": test, "latency_s": finals[sha256_file(path)]["latency_s"]}
    chosen = found["chosen"]
    keys = ("name", "precision", "latency_s", "top1", "images")
    row["found"] = {"test_top1": found["test_top1"], **{key: chosen[key] for key in keys}}
    row["seconds"], row["tried"] = found["seconds"], found["tried"]
    lost = {arm: row["whole"]["test_top1"] - row[arm]["test_top1"] for arm in ("shrunk", "found")}
    row["points_lost"] = {arm: 100 * value for arm, value in lost.items()}
    return row


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    """Means over the seeds."""
    lost = {arm: [row["points_lost"][arm] for row in rows.values()] for arm in ("shrunk", "found")}
    means = {arm: statistics.mean(values) for arm, values in lost.items()}
    return {
        "seeds": len(rows),
        "mean_points_lost": means,
        "points_lost": lost,
        "aim_met_on_average": means["found"] < means["shrunk"] / 2,
        "aim_met_by_seed": {seed: _met(row) for seed, row in rows.items()},
    }


def _met(row: dict[str, Any]) -> bool:
    return bool(row["points_lost"]["found"] < row["points_lost"]["shrunk"] / 2)


def words(seed: str, row: dict[str, Any]) -> str:
    """One line a seed."""
    arms = ", ".join(
        f"{arm} {row[arm]['test_top1']:.1%} at {row[arm]['latency_s'] * 1000:.3g} ms"
        for arm in ("whole", "shrunk", "found")
    )
    return f"seed {seed}: {arms} ({row['found']['name']}); aim {'met' if _met(row) else 'missed'}"


if __name__ == "__main__":
    main()
