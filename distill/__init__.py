"""distill: explainability-based knowledge distillation and the methods it is compared with.

    result = train("exp-kd/cifar100/resnet56-resnet20", overrides=["data.path=cifar100/", "teacher.model=resnet56.pt"])
    result.metrics                                        # a data frame, a line an epoch
    result.plot()                                         # the learning curve
    result.student()                                      # the trained network as xkd_eval's Classifier
    evaluate({"kd": result.path}, "cifar100/", teacher="resnet56.pt").table   # accuracy, cost, agreement

What there is, each with an example in its own help:

    train, TrainingResult, TrainingPoint   a recipe in, a student in a directory out; progress on the way
    load_recipe, Recipe                    a training as data, by name, from a file or from a dict
    evaluate, Evaluation                   what students are worth, side by side and beside their teacher
    Method, register, create_method        a loss of one's own; any loss with its options and trained layers
    losses                                 all published losses as plain functions of tensors
    observe, Pass                          any network with its maps beside its logits, for a loop of one's own
    XkdError                               what bad input of any kind raises, in one line

`distill.testing.check_method` checks a loss of one's own. docs/python.md is ten minutes of all of it.

The names are imported when they are first used, so that `import distill` and `xkd-distill --help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill import losses
    from distill.methods.base import Method
    from distill.methods.passes import Pass
    from distill.methods.registry import create_method, register
    from distill.recipe.files import load_recipe
    from distill.recipe.schema import Recipe
    from distill.students.evaluate import evaluate
    from distill.students.evaluation import Evaluation
    from distill.training.observe import observe
    from distill.training.progress import TrainingPoint
    from distill.training.result import TrainingResult
    from distill.training.store import store_answers
    from distill.training.train import train
    from xkd_eval.errors import XkdError

_HOME = {
    "Evaluation": "distill.students.evaluation",
    "Method": "distill.methods.base",
    "Pass": "distill.methods.passes",
    "Recipe": "distill.recipe.schema",
    "TrainingPoint": "distill.training.progress",
    "TrainingResult": "distill.training.result",
    "XkdError": "xkd_eval.errors",
    "create_method": "distill.methods.registry",
    "evaluate": "distill.students.evaluate",
    "load_recipe": "distill.recipe.files",
    "losses": "distill.losses",
    "observe": "distill.training.observe",
    "register": "distill.methods.registry",
    "store_answers": "distill.training.store",
    "train": "distill.training.train",
}

__all__ = [
    "Evaluation",
    "Method",
    "Pass",
    "Recipe",
    "TrainingPoint",
    "TrainingResult",
    "XkdError",
    "create_method",
    "evaluate",
    "load_recipe",
    "losses",
    "observe",
    "register",
    "store_answers",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    module = import_module(_HOME[name])
    value = module if _HOME[name] == f"distill.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
