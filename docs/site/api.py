"""The reference of the Python interface: every public name, by what it is for."""

from __future__ import annotations

import inspect
from types import ModuleType

import distill
import xkd_eval
from docs.site.markdown import plain

_EVALUATE = {
    "Models and data": ("load_classifier", "Classifier", "Preprocess", "open_dataset", "ImageDataset", "Sample"),
    "Maps": ("explain", "Explanation", "overlay", "class_activation_maps", "create_explainer"),
    "Scores": ("evaluate", "perturbation_test", "segmentation_test", "Study", "EvaluationResult", "RunOptions"),
    "Comparisons": ("compare", "Comparison", "check", "Gate", "table", "Leaderboard", "model_card", "ModelCard"),
    "Your own parts": (
        *("Explainer", "register_explainer", "Evaluation", "register_test", "Batch", "ScoreSpec", "register_dataset"),
        *("register_architecture", "Checkpoint", "save_checkpoint"),
    ),
    "Errors": ("XkdError",),
}
_DISTILL = {
    "Training": ("train", "TrainingResult", "TrainingPoint", "load_recipe", "Recipe", "store_answers"),
    "Students": ("evaluate", "Evaluation"),
    "Losses": ("create_method", "Method", "register", "Pass", "observe", "losses"),
}
_ELSEWHERE = ("XkdError",)  # of distill: xkd_eval's own
_TESTING = ("xkd_eval.testing", "distill.testing")


def pages() -> dict[str, str]:
    """File name -> Markdown, a page a package.

    Raises:
        ValueError: a public name that stands in no group, or one that is not public.
    """
    return {
        "api_xkd_eval.md": _page(xkd_eval, _EVALUATE, "Python: xkd_eval"),
        "api_distill.md": _page(distill, _DISTILL, "Python: distill"),
        "api_testing.md": "\n\n".join(["# Python: contract tests", *map(_module, _TESTING)]) + "\n",
    }


def _page(package: ModuleType, groups: dict[str, tuple[str, ...]], title: str) -> str:
    name = package.__name__
    given = {word for words in groups.values() for word in words}
    there = set(package.__all__) - (set(_ELSEWHERE) if package is distill else set())
    if given != there:
        raise ValueError(
            f"docs/site/api.py: the groups of {name} lack {there - given} or have too many: {given - there}"
        )
    parts = [f"# {title}", f"The public names of `{name}`, each with an example that the tests run."]
    for group, words in groups.items():
        parts += [f"## {plain(group)}", *(_entry(package, word) for word in words)]
    return "\n\n".join(parts) + "\n"


def _entry(package: ModuleType, word: str) -> str:
    thing = getattr(package, word)
    if inspect.ismodule(thing):
        return f"### {word}\n\n{_module(thing.__name__)}"
    kind = "autoclass" if inspect.isclass(thing) else "autofunction"
    # Options and Protocol are what a test calls its own data classes: no part of the contract has these by name.
    members = "\n   :members:\n   :exclude-members: Options, Protocol" if inspect.isclass(thing) else ""
    return _rest(f".. {kind}:: {package.__name__}.{word}{members}")


def _module(name: str) -> str:
    return _rest(f".. automodule:: {name}\n   :members:")


def _rest(text: str) -> str:
    return f"```{{eval-rst}}\n{text}\n```"
