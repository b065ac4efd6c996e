"""Is an answer right? One grader per answer type, with the benchmark's own rule where it has one."""

from avengers_edge.calibration.graders.grader import Grader, grade

__all__ = ["Grader", "grade"]
