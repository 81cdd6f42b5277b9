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
    from xkd_eval.classifiers.classifier import Classifier
    from xkd_eval.classifiers.loading import load_classifier
    from xkd_eval.classifiers.preprocess import Preprocess
    from xkd_eval.comparison import Comparison
    from xkd_eval.datasets import open_dataset
    from xkd_eval.errors import XkdError
    from xkd_eval.explanations.explain import Explanation, explain
    from xkd_eval.explanations.overlay import overlay
    from xkd_eval.report.compare import compare
    from xkd_eval.study.evaluate import evaluate, perturbation_test, segmentation_test
    from xkd_eval.study.result import EvaluationResult, Study

__version__ = "0.1.0"

_HOME = {
    "Classifier": "xkd_eval.classifiers.classifier",
    "Comparison": "xkd_eval.comparison",
    "EvaluationResult": "xkd_eval.study.result",
    "Study": "xkd_eval.study.result",
    "evaluate": "xkd_eval.study.evaluate",
    "Explanation": "xkd_eval.explanations.explain",
    "Preprocess": "xkd_eval.classifiers.preprocess",
    "XkdError": "xkd_eval.errors",
    "class_activation_maps": "xkd_eval.cam",
    "compare": "xkd_eval.report.compare",
    "explain": "xkd_eval.explanations.explain",
    "load_classifier": "xkd_eval.classifiers.loading",
    "open_dataset": "xkd_eval.datasets",
    "overlay": "xkd_eval.explanations.overlay",
    "perturbation_test": "xkd_eval.study.evaluate",
    "segmentation_test": "xkd_eval.study.evaluate",
}

__all__ = [
    "Classifier",
    "Comparison",
    "EvaluationResult",
    "Explanation",
    "Preprocess",
    "Study",
    "XkdError",
    "class_activation_maps",
    "compare",
    "evaluate",
    "explain",
    "load_classifier",
    "open_dataset",
    "overlay",
    "perturbation_test",
    "segmentation_test",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xkd_eval' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
