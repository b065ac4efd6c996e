"""Converters from what the benchmarks publish into question files; nothing of any benchmark is shipped.

published → rows → exams, solutions, puzzles, dialogues → convert, which reads benchmarks.toml
"""

from avengers_edge.calibration.benchmarks.convert import (
    BENCHMARKS,
    Benchmark,
    HubTable,
    convert_hub,
    convert_path,
    convert_rows,
    find_benchmark,
)

__all__ = ["BENCHMARKS", "Benchmark", "HubTable", "convert_hub", "convert_path", "convert_rows", "find_benchmark"]
