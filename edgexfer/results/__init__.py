"""Benchmark results: taken with the device's own script, read, and compared only where they can be.

Nothing here needs torch.
"""

from edgexfer.results.bench import run_bench
from edgexfer.results.choice import Accuracy, Budget, Candidate, Choice, choose
from edgexfer.results.comparison import Comparison, Pair, compare, compare_files, compare_many
from edgexfer.results.devices import Device, named_devices, read_devices
from edgexfer.results.facts import VARIABLES
from edgexfer.results.fleet import run_fleet
from edgexfer.results.result import BenchmarkResult, Config, read_result
from edgexfer.results.statistics import Interval, median_interval, percentile, ratio_of_medians, summary
from edgexfer.results.visit import FleetRun, Outcome

__all__ = [
    "VARIABLES",
    "Accuracy",
    "BenchmarkResult",
    "Budget",
    "Candidate",
    "Choice",
    "Comparison",
    "Config",
    "Device",
    "FleetRun",
    "Interval",
    "Outcome",
    "Pair",
    "choose",
    "compare",
    "compare_files",
    "compare_many",
    "median_interval",
    "named_devices",
    "percentile",
    "ratio_of_medians",
    "read_devices",
    "read_result",
    "run_bench",
    "run_fleet",
    "summary",
]
