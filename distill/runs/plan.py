"""Which trainings a command stands for: recipes x seeds, each with its directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.recipe.files import expand
from distill.recipe.schema import Recipe
from distill.runs.changes import RecipeChanges, changed_recipe, check_seeds, distils
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
        XkdError: no such recipe, an override that makes none, or of the seed beside `seeds`; an `output` for several
            recipes, a teacher that no recipe reads, two recipes whose trainings would lie in one directory.
    """
    if seeds:
        check_seeds(changes.overrides, "overrides")
    recipes = {name: changed_recipe(name, changes) for given in names for name in expand(given)}
    if output is not None and len(recipes) > 1:
        raise XkdError(f"output: names one directory, but {len(recipes)} recipes are to run; give `runs`, or name one")
    if changes.teacher is not None and not any(map(distils, recipes.values())):
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
