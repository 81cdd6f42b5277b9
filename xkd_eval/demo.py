"""The demo: every evaluation on the embedded teacher and data, and its students' maps beside its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from xkd_eval.evaluate import EvaluationResult, perturbation_test, segmentation_test
from xkd_eval.overlays import write_overlays
from xkd_eval.runner import Progress

_OVERLAID = 4


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


def _run(test: Callable[..., EvaluationResult], directory: Path, progress: Progress) -> EvaluationResult:
    return test("embedded", "embedded", output=directory, progress=progress)
