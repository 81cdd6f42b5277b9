"""The pictures of a card: the tests' own figures, and overlays of a few photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets import ImageDataset
from xkd_eval.escapes import file_name
from xkd_eval.explainers import Explainer
from xkd_eval.study.result import EvaluationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def test_figures(results: Sequence[EvaluationResult]) -> Iterator[tuple[str, str, Figure]]:
    """File name, caption and figure of all that the tests draw."""
    for result in results:
        for name, figure in result.test.figures(result.maps, result.summary, result.columns).items():
            stem = file_name(f"{result.test_name}-{result.maps}-{name}")
            yield f"{stem}.png", f"{result.test.title} by {result.maps}", figure


def overlay_figure(
    classifier: Classifier, dataset: ImageDataset, count: int, explainer: str | Explainer, device: str
) -> tuple[str, str, Figure]:
    """File name, caption and figure of the first photographs of a data set, each with its map."""
    from xkd_eval.explanations.overlay import overlay
    from xkd_eval.explanations.overlay_files import from_dataset

    photographs = from_dataset(dataset, dataset.ids[:count])
    figure = overlay(classifier, photographs, explainer=explainer, device=device)
    return "overlay.png", f"Where it looks, in photographs of {dataset.name}", figure
