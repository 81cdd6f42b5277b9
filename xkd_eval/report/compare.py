"""compare(): the comparison of models, and its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xkd_eval.arguments import public
from xkd_eval.comparison.compare import compare_models
from xkd_eval.comparison.result import Comparison
from xkd_eval.devices import process_state
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Explainer
from xkd_eval.report import IN_PAGE
from xkd_eval.report.gallery import Size
from xkd_eval.report.write import write_report
from xkd_eval.study.choose import TestLike
from xkd_eval.study.inputs import Data
from xkd_eval.study.models import Models
from xkd_eval.study.stream import Progress


@public(model="models")
def compare(
    models: Models,
    data: Data = "embedded",
    *,
    masks: Data | None = None,
    explainer: str | Explainer = "cam",
    floors: bool = True,
    tests: TestLike | Sequence[TestLike] | None = None,
    output: str | Path | None = None,
    runs: str | Path | None = None,
    gallery: Size = IN_PAGE,
    command: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Which model explains itself better, is the difference real, and does it look where the first one looks?

    Args:
        models: what `load_classifier` takes, the reference (the teacher) first; or finished run directories, of which
            nothing is computed again. "NAME=MODEL", or a mapping, gives them names; several models of one name are
            training seeds of one student.
        data: what `open_dataset` takes, or an ImageDataset; labelled.
        masks: images with masks, for the tests that need them; by default `data` where it has masks.
        explainer: makes the maps.
        floors: score random, centre, edge and fake-CAM maps as well, and the oracle where there are masks.
        tests: names that `xkd-eval tests` lists; by default all for which the data has what they need.
        output: gets report.html, figures/ and tables/.
        runs: keeps the run of every cell, so that the same call continues, and studies share what is finished. By
            default OUTPUT/runs.
        gallery: how many images the report shows, all within its file; "all" writes every image into a folder beside
            it, report_photographs/, from which a browser loads what is on the screen.
        command: what made it, for the report.
        progress: called with what is under way, the rows done and the rows in all.
        options: those of RunOptions (limit, protocol, target, size, seed, ...), and of the tests (fractions, fill,
            ...).

    Raises:
        XkdError: fewer than two models, runs of different rules or images, and whatever the tests raise.

    Example:
        >>> import xkd_eval
        >>> found = xkd_eval.compare(["embedded/teacher", "embedded/plain"], floors=False, limit=8)
        >>> sorted(set(found.agreement["outcome"])) and found.explainer
        'cam'
    """
    state = process_state(options.get("device", "auto"))
    if output is None and runs is None and state.num_processes > 1:
        raise XkdError("output: several processes need a directory to share; give one")
    place = Path(runs) if runs is not None else None if output is None else Path(output) / "runs"
    found = compare_models(
        models,
        data,
        masks=masks,
        explainer=explainer,
        floors=floors,
        tests=tests,
        runs=place,
        progress=progress,
        **options,
    )
    if output is not None and state.is_main_process:
        write_report(Path(output), found, size=gallery, command=command)
    return found
