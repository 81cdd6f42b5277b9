"""Which trainings a command stands for: recipes x seeds, each with its directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.recipe.files import expand, load_recipe
from distill.recipe.imports import import_modules
from distill.recipe.networks import Teacher
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import override
from distill.runs.layout import check_apart, directory_name, seed_directory
from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class PlannedRun:
    """One training.

    Attributes:
        name: its recipe's.
        recipe: as resolved.
        directory: of the run.
    """

    name: str
    recipe: Recipe
    directory: Path


@dataclass(frozen=True)
class RecipeChanges:
    """What a command changes of its recipes.

    Attributes:
        data: the data set's folder or file.
        teacher: a model in place of the recipe's teacher, or for a recipe that distils and names none.
        teacher_weights: a file of weights for the teacher's architecture.
        val_split: fraction of the training images that is held out.
        select_on_test: keep the epoch that is the best on the test images.
        precision: "fp32" or "bf16".
        compile: run the networks through torch.compile.
        overrides: "key=value" texts, applied last.
    """

    data: str | None = None
    teacher: str | None = None
    teacher_weights: Path | None = None
    val_split: float | None = None
    select_on_test: bool = False
    precision: str | None = None
    compile: bool = False
    overrides: tuple[str, ...] = field(default=())


def plan_runs(
    names: Sequence[str], changes: RecipeChanges, runs: Path, seeds: Sequence[int] = (), output: Path | None = None
) -> list[PlannedRun]:
    """Resolve recipes and give each its directory.

    Args:
        names: of recipes, or of files for all of their variants.
        changes: of the recipes.
        runs: each recipe's directory lies below, under its name.
        seeds: one run each, in a directory seed-N below the recipe's; empty for the recipe's own seed.
        output: the directory of a single recipe instead.

    Raises:
        XkdError: no such recipe, an override that makes none, an `output` for several recipes, a teacher that no
            recipe reads, two recipes whose trainings would lie in one directory.
    """
    recipes = {name: _resolved(name, changes) for given in names for name in expand(given)}
    if output is not None and len(recipes) > 1:
        raise XkdError(f"output: names one directory, but {len(recipes)} recipes are to run; give `runs`, or name one")
    if changes.teacher is not None and not any(map(_distils, recipes.values())):
        raise XkdError(f"teacher: no loss of {', '.join(recipes)} distils, so nothing reads it; leave it out")
    planned = []
    for name, recipe in recipes.items():
        directory = output or runs / directory_name(name)
        for seed in seeds:
            seeded = recipe.model_copy(update={"seed": seed})
            planned.append(PlannedRun(name, seeded, seed_directory(directory, seed)))
        if not seeds:
            planned.append(PlannedRun(name, recipe, directory))
    check_apart((run.name, run.directory) for run in planned)
    return planned


def _resolved(name: str, changes: RecipeChanges) -> Recipe:
    given = {
        "data": ("data.path", changes.data),
        "val_split": ("data.val_split", changes.val_split),
        "select_on_test": ("select_on_test", changes.select_on_test or None),
        "precision": ("precision", changes.precision),
        "compile": ("compile", changes.compile or None),
    }
    texts = [override(key, value, name) for name, (key, value) in given.items() if value is not None]
    recipe = load_recipe(name, [*texts, *changes.overrides])
    if changes.teacher_weights is not None and changes.teacher is None:
        raise XkdError("teacher_weights: needs the architecture as `teacher`, such as timm/resnet18")
    if changes.teacher is None or not _distils(recipe):
        return recipe
    weights = None if changes.teacher_weights is None else str(changes.teacher_weights)
    for name, text in (("teacher", changes.teacher), ("teacher_weights", weights)):
        override("", text, name)  # what no file of a recipe can hold is refused here
    preprocess = {} if recipe.teacher is None else recipe.teacher.preprocess
    return recipe.model_copy(update={"teacher": Teacher(model=changes.teacher, weights=weights, preprocess=preprocess)})


def _distils(recipe: Recipe) -> bool:
    """Whether any of a recipe's methods needs a teacher."""
    from distill.methods.registry import METHODS  # imports torch, which most commands do without

    import_modules(recipe)
    return any(METHODS[loss.method].requires for loss in recipe.losses)
