"""A run directory as one HTML file, and several side by side. Knows records and views, no ops."""

from woolgather.report.compare import compare_runs
from woolgather.report.page import write_report

__all__ = ["compare_runs", "write_report"]
