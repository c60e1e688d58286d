"""Benchmark results: taken with the device's own script, read, and compared only where they can be.

Nothing here needs torch.
"""

from edgexfer.results.bench import run_bench
from edgexfer.results.comparison import VARIABLES, Comparison, Pair, compare, compare_files
from edgexfer.results.result import BenchmarkResult, Config, read_result
from edgexfer.results.statistics import Interval, percentile, ratio_of_medians, summary

__all__ = [
    "VARIABLES",
    "BenchmarkResult",
    "Comparison",
    "Config",
    "Interval",
    "Pair",
    "compare",
    "compare_files",
    "percentile",
    "ratio_of_medians",
    "read_result",
    "run_bench",
    "summary",
]
