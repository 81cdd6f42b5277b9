"""Which model explains itself better, is the difference real, and does it look where its teacher looks?"""

from __future__ import annotations

from xkd_eval.comparison.compare import compare_models
from xkd_eval.comparison.result import Comparison

__all__ = ["Comparison", "compare_models"]
