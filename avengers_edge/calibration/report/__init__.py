"""Findings in, one self-contained HTML file out."""

from avengers_edge.calibration.report.canvas import require_matplotlib
from avengers_edge.calibration.report.page import page, verdict, write_report

__all__ = ["page", "require_matplotlib", "verdict", "write_report"]
