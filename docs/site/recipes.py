"""The reference of recipes, from the files that ship."""

from __future__ import annotations

from distill.recipe.files import RecipeFile, load_recipe, shipped_files
from distill.recipe.losses import WeightedMethod
from distill.recipe.networks import Teacher
from distill.recipe.schema import Recipe
from docs.site.markdown import code, plain, table

_OPENING = """# Recipes that ship

Every recipe that `xkd-distill train NAME` knows, with what it resolves to. `xkd-distill recipes NAME` prints one as a
file that `train` takes again, and [The recipes of published methods](../recipes.md) says where their weights are from.
A weight stands in front of its loss; CE is cross-entropy.
"""


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    return {"recipes.md": "\n\n".join([_OPENING, *map(_section, shipped_files())]) + "\n"}


def _section(file: RecipeFile) -> str:
    rows = [_row(name) for name in file.names()]
    resolved = table(("recipe", "student", "teacher", "losses", "epochs"), rows)
    return f"## {file.name}\n\n{plain(file.description)}\n\n{resolved}"


def _row(name: str) -> tuple[str, ...]:
    recipe = load_recipe(name)
    losses = " + ".join(map(_loss, recipe.losses))
    return code(name), code(recipe.student.architecture), _teachers(recipe), plain(losses), str(recipe.epochs)


def _loss(loss: WeightedMethod) -> str:
    name = "CE" if loss.method == "ce" else loss.method
    return name if loss.weight == 1 else f"{loss.weight:g} {name}"


def _teachers(recipe: Recipe) -> str:
    teachers = [recipe.teacher] if recipe.teacher else list((recipe.teachers or {}).values())
    return ", ".join(code(_name(teacher)) for teacher in teachers)


def _name(teacher: Teacher) -> str:
    return str(teacher.model or teacher.recipe)
