from .dials import Benchmark, with_levels
from .run import benchmark_run, find_departures, make_benchmark
from .worst import WorstCases, WorstReport, plan_worst

__all__ = [
    "Benchmark",
    "WorstCases",
    "WorstReport",
    "benchmark_run",
    "find_departures",
    "make_benchmark",
    "plan_worst",
    "with_levels",
]
