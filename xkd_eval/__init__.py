"""xkd_eval: does a compressed classifier still look at the right thing?

The names below are imported when they are first used, so that `import xkd_eval` and `xkd-eval --help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xkd_eval.cam import class_activation_maps
    from xkd_eval.classifiers.architectures import register_architecture
    from xkd_eval.classifiers.classifier import Classifier
    from xkd_eval.classifiers.loading import load_classifier
    from xkd_eval.classifiers.preprocess import Preprocess
    from xkd_eval.comparison import Comparison, compare
    from xkd_eval.datasets import ImageDataset, Sample, open_dataset, register_dataset
    from xkd_eval.errors import XkdError
    from xkd_eval.evaluate import EvaluationResult, perturbation_test, segmentation_test
    from xkd_eval.explainers import Explainer, create_explainer, register_explainer
    from xkd_eval.explanations.explain import Explanation, explain
    from xkd_eval.explanations.overlay import overlay

__version__ = "0.1.0"

_HOME = {
    "Classifier": "xkd_eval.classifiers.classifier",
    "Comparison": "xkd_eval.comparison",
    "EvaluationResult": "xkd_eval.evaluate",
    "Explainer": "xkd_eval.explainers",
    "Explanation": "xkd_eval.explanations.explain",
    "ImageDataset": "xkd_eval.datasets",
    "Preprocess": "xkd_eval.classifiers.preprocess",
    "Sample": "xkd_eval.datasets",
    "XkdError": "xkd_eval.errors",
    "class_activation_maps": "xkd_eval.cam",
    "compare": "xkd_eval.comparison",
    "create_explainer": "xkd_eval.explainers",
    "explain": "xkd_eval.explanations.explain",
    "load_classifier": "xkd_eval.classifiers.loading",
    "open_dataset": "xkd_eval.datasets",
    "overlay": "xkd_eval.explanations.overlay",
    "perturbation_test": "xkd_eval.evaluate",
    "register_architecture": "xkd_eval.classifiers.architectures",
    "register_dataset": "xkd_eval.datasets",
    "register_explainer": "xkd_eval.explainers",
    "segmentation_test": "xkd_eval.evaluate",
}

__all__ = [
    "Classifier",
    "Comparison",
    "EvaluationResult",
    "Explainer",
    "Explanation",
    "ImageDataset",
    "Preprocess",
    "Sample",
    "XkdError",
    "class_activation_maps",
    "compare",
    "create_explainer",
    "explain",
    "load_classifier",
    "open_dataset",
    "overlay",
    "perturbation_test",
    "register_architecture",
    "register_dataset",
    "register_explainer",
    "segmentation_test",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xkd_eval' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
