"""evaluate(), perturbation_test() and segmentation_test() as Python calls them: with a page where a run is left."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from xkd_eval.devices import process_state
from xkd_eval.study import evaluate as study
from xkd_eval.study.result import EvaluationResult, Study

P = ParamSpec("P")
R = TypeVar("R", EvaluationResult, Study)


def leave_page(result: EvaluationResult | Study, command: str | None = None) -> Path | None:
    """Write report.html into the directory of a run or a study; None where it has none.

    Args:
        result: of one test or of several.
        command: what made it.

    Raises:
        XkdError: the directory cannot be written.
    """
    from xkd_eval.report.run_page import write_run_page, write_study_page

    if result.directory is None:
        return None
    return write_study_page(result, command) if isinstance(result, Study) else write_run_page(result, command)


def _with_page(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> R:
        result = function(*given, **named)
        if named.get("figures") is not False and process_state(str(named.get("device", "auto"))).is_main_process:
            leave_page(result)
        return result

    return call


evaluate = _with_page(study.evaluate)
perturbation_test = _with_page(study.perturbation_test)
segmentation_test = _with_page(study.segmentation_test)
