"""Converters from what the benchmarks publish into question files; nothing of any benchmark is shipped.

rows ← benchmark ← wording ← one module a family of benchmarks ← convert
                   arrays  ← reading ┘
"""

from avengers_edge.calibration.benchmarks.benchmark import Benchmark, HubTable
from avengers_edge.calibration.benchmarks.convert import (
    BENCHMARKS,
    convert_hub,
    convert_path,
    convert_rows,
    find_benchmark,
)

__all__ = ["BENCHMARKS", "Benchmark", "HubTable", "convert_hub", "convert_path", "convert_rows", "find_benchmark"]
