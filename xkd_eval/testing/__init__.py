"""What must hold for a part that is found by name: the project's own contract tests, for anybody's part.

    from xkd_eval.testing import check_explainer
    check_explainer("py:mine:Blob")

Each raises an AssertionError that says in a sentence what is violated.
"""

from __future__ import annotations

from xkd_eval.testing.datasets import check_dataset
from xkd_eval.testing.evaluations import check_test
from xkd_eval.testing.explainers import check_explainer
from xkd_eval.testing.networks import SmallNetwork, small_classifier

__all__ = ["SmallNetwork", "check_dataset", "check_explainer", "check_test", "small_classifier"]
