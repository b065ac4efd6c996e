"""Questions made by the product itself, so that any model can be calibrated with nothing else at hand."""

from avengers_edge.calibration.builtin.questions import BUILTIN_DATASETS, builtin_questions, parse_builtin

__all__ = ["BUILTIN_DATASETS", "builtin_questions", "parse_builtin"]
