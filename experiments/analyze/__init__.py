"""Analyse a finished experiment from a file with one row per unit: no server, no set-up.

The file path and the log path share everything from the moments query on: `experiments.measure.cells`, and the
estimators of `experiments.report`.
"""

from experiments.analyze.options import AnalyzeOptions
from experiments.analyze.report import analyze_file

__all__ = ["AnalyzeOptions", "analyze_file"]
