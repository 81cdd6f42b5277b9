"""xkd_eval: does a compressed classifier still look at the right thing?

    classifier = load_classifier("student.pt")            # any torch module, with its proven CAM head
    explain(classifier, "photo.jpg").plot()               # one class of each photo as a map
    perturbation_test(classifier, "imagenet/val")         # what the maps are worth, with intervals
    compare(["teacher.pt", "student.pt"], "imagenet/val") # several models, paired, and a report

The names are imported when they are first used, so that `import xkd_eval` and `xkd-eval --help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xkd_eval.cam import class_activation_maps
    from xkd_eval.card import ModelCard, model_card
    from xkd_eval.classifiers.architectures import register_architecture
    from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
    from xkd_eval.classifiers.classifier import Classifier
    from xkd_eval.classifiers.loading import load_classifier
    from xkd_eval.classifiers.preprocess import Preprocess
    from xkd_eval.comparison.result import Comparison
    from xkd_eval.datasets import ImageDataset, Sample, open_dataset, register_dataset
    from xkd_eval.errors import XkdError
    from xkd_eval.evaluations import register_test
    from xkd_eval.evaluations.base import Evaluation
    from xkd_eval.evaluations.batch import Batch
    from xkd_eval.evaluations.scores import ScoreSpec
    from xkd_eval.explainers import Explainer, create_explainer, register_explainer
    from xkd_eval.explanations.explain import Explanation, explain
    from xkd_eval.explanations.overlay import overlay
    from xkd_eval.gate import Gate
    from xkd_eval.gate.check import check
    from xkd_eval.leaderboard import Leaderboard
    from xkd_eval.leaderboard.table import table
    from xkd_eval.report.compare import compare
    from xkd_eval.report.runs import evaluate, perturbation_test, segmentation_test
    from xkd_eval.study.options import RunOptions
    from xkd_eval.study.result import EvaluationResult, Study

__version__ = "0.1.0"

_HOME = {
    "Batch": "xkd_eval.evaluations.batch",
    "Checkpoint": "xkd_eval.classifiers.checkpoint",
    "Classifier": "xkd_eval.classifiers.classifier",
    "Comparison": "xkd_eval.comparison.result",
    "Evaluation": "xkd_eval.evaluations.base",
    "EvaluationResult": "xkd_eval.study.result",
    "Explainer": "xkd_eval.explainers",
    "Explanation": "xkd_eval.explanations.explain",
    "Gate": "xkd_eval.gate",
    "ImageDataset": "xkd_eval.datasets",
    "Leaderboard": "xkd_eval.leaderboard",
    "ModelCard": "xkd_eval.card",
    "Preprocess": "xkd_eval.classifiers.preprocess",
    "RunOptions": "xkd_eval.study.options",
    "Sample": "xkd_eval.datasets",
    "ScoreSpec": "xkd_eval.evaluations.scores",
    "Study": "xkd_eval.study.result",
    "XkdError": "xkd_eval.errors",
    "check": "xkd_eval.gate.check",
    "class_activation_maps": "xkd_eval.cam",
    "compare": "xkd_eval.report.compare",
    "create_explainer": "xkd_eval.explainers",
    "evaluate": "xkd_eval.report.runs",
    "explain": "xkd_eval.explanations.explain",
    "load_classifier": "xkd_eval.classifiers.loading",
    "model_card": "xkd_eval.card",
    "open_dataset": "xkd_eval.datasets",
    "overlay": "xkd_eval.explanations.overlay",
    "perturbation_test": "xkd_eval.report.runs",
    "register_architecture": "xkd_eval.classifiers.architectures",
    "register_dataset": "xkd_eval.datasets",
    "register_explainer": "xkd_eval.explainers",
    "register_test": "xkd_eval.evaluations",
    "save_checkpoint": "xkd_eval.classifiers.checkpoint",
    "segmentation_test": "xkd_eval.report.runs",
    "table": "xkd_eval.leaderboard.table",
}

__all__ = [
    "Batch",
    "Checkpoint",
    "Classifier",
    "Comparison",
    "Evaluation",
    "EvaluationResult",
    "Explainer",
    "Explanation",
    "Gate",
    "ImageDataset",
    "Leaderboard",
    "ModelCard",
    "Preprocess",
    "RunOptions",
    "Sample",
    "ScoreSpec",
    "Study",
    "XkdError",
    "check",
    "class_activation_maps",
    "compare",
    "create_explainer",
    "evaluate",
    "explain",
    "load_classifier",
    "model_card",
    "open_dataset",
    "overlay",
    "perturbation_test",
    "register_architecture",
    "register_dataset",
    "register_explainer",
    "register_test",
    "save_checkpoint",
    "segmentation_test",
    "table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xkd_eval' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
