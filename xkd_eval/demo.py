"""The demo: every evaluation on the embedded teacher and data, and the teacher compared with its students."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from xkd_eval.assets import EMBEDDED
from xkd_eval.comparison import Comparison, compare
from xkd_eval.comparison.runs import Progress as Comparing
from xkd_eval.evaluate import EvaluationResult, perturbation_test, segmentation_test
from xkd_eval.explanations.overlay import write_overlays
from xkd_eval.report.write import REPORT
from xkd_eval.runner import Progress

_OVERLAID = 4
_COMPARED, _QUICK = 150, 40

EMBEDDED_NAMES = [f"embedded/{name}" for name in EMBEDDED]


def demo_evaluations(output: Path) -> dict[str, Callable[[Progress], EvaluationResult]]:
    """Name -> a function that runs the evaluation into `output`/NAME, or continues it."""
    return {
        "perturbation": partial(_run, perturbation_test, output / "perturbation"),
        "segmentation": partial(_run, segmentation_test, output / "segmentation"),
    }


def demo_overlay(output: Path) -> Path:
    """Draw the first images of the embedded test set for teacher and students; returns the figure's path."""
    (path,) = write_overlays(
        models=["embedded/teacher", "embedded/plain", "embedded/exp_kd"],
        weights=[],
        photos=[],
        data="embedded",
        ids=[f"test-{number:05d}" for number in range(_OVERLAID)],
        output=output / "overlay.png",
    )
    return path


def demo_comparison(output: Path, *, quick: bool, progress: Comparing) -> tuple[Comparison, Path]:
    """Compare the embedded teacher with its four students; returns the report's path, too.

    Args:
        output: of the demo.
        quick: take fewer images.
        progress: told while it goes on.
    """
    place = output / ("comparison-quick" if quick else "comparison")
    images = _QUICK if quick else _COMPARED
    command = f"xkd-eval compare {' '.join(EMBEDDED_NAMES)} --limit {images}"
    found = compare(EMBEDDED_NAMES, images=images, output=place, progress=progress, command=command)
    return found, place / REPORT


def _run(test: Callable[..., EvaluationResult], directory: Path, progress: Progress) -> EvaluationResult:
    return test("embedded", "embedded", output=directory, progress=progress)
