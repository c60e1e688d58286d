"""Benchmark results: made on this machine, read, and compared where they can be compared. No network is loaded."""

from edgexfer.results.compare import Comparison, compare, compare_files
from edgexfer.results.local import run_bench
from edgexfer.results.record import BenchmarkResult, read_result

__all__ = ["BenchmarkResult", "Comparison", "compare", "compare_files", "read_result", "run_bench"]
