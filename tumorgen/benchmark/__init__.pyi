from .dials import Benchmark, with_levels
from .run import find_departures, make_benchmark
from .worst import WorstCases, WorstReport, plan_worst

__all__ = [
    "Benchmark",
    "WorstCases",
    "WorstReport",
    "find_departures",
    "make_benchmark",
    "plan_worst",
    "with_levels",
]
