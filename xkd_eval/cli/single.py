"""What the commands of one test share."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from xkd_eval.cli.console import console, keeping_what_is_done
from xkd_eval.launch import is_silent


def run_test(
    test: str, model: str, data: str, explainer: str, floors: bool, paper: list[str], options: dict[str, Any]
) -> None:
    """Run or continue a test, and print its scores."""
    from xkd_eval.cli.output import print_result, warn_of_slow_precision
    from xkd_eval.cli.papers import check_papers, print_papers
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.report.runs import leave_page
    from xkd_eval.study.evaluate import evaluate_one

    check_papers(paper)
    warn_of_slow_precision(options)
    with keeping_what_is_done(), progress_bar() as report:
        result = evaluate_one(
            test, model, data, explainer=explainer, floors=floors, progress=report, **{"output": "auto", **options}
        )
    if is_silent():
        return
    print_result(result)
    if options.get("figures") is not False:
        page = leave_page(result, shlex.join(["xkd-eval", *sys.argv[1:]]))
        console.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
    print_papers(result, result.directory, paper)
