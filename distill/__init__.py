"""distill: explainability-based knowledge distillation and the methods it is compared with.

    result = train("exp-kd/cifar100/resnet56-resnet20", overrides=["data.path=cifar100/", "teacher.model=resnet56.pt"])
    result.metrics                                        # a data frame, a line an epoch
    result.plot()                                         # the learning curve
    result.student()                                      # the trained network as xkd_eval's Classifier
    evaluate({"kd": result.path}, "cifar100/", teacher="resnet56.pt").table   # accuracy, cost, agreement

The names are imported when they are first used, so that `import distill` and `xkd-distill --help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.methods.base import Method
    from distill.methods.passes import Pass
    from distill.methods.registry import register
    from distill.recipe.files import load_recipe
    from distill.recipe.schema import Recipe
    from distill.students.evaluate import evaluate
    from distill.students.evaluation import Evaluation
    from distill.training.result import TrainingResult
    from distill.training.train import train

_HOME = {
    "Evaluation": "distill.students.evaluation",
    "Method": "distill.methods.base",
    "Pass": "distill.methods.passes",
    "Recipe": "distill.recipe.schema",
    "TrainingResult": "distill.training.result",
    "evaluate": "distill.students.evaluate",
    "load_recipe": "distill.recipe.files",
    "register": "distill.methods.registry",
    "train": "distill.training.train",
}

__all__ = ["Evaluation", "Method", "Pass", "Recipe", "TrainingResult", "evaluate", "load_recipe", "register", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
