"""xkd-distill recipes."""

from __future__ import annotations

from distill.cli import options as o


def recipes(name: o.Recipe = None, overrides: o.Overrides = None, methods: o.Methods = False) -> None:
    """What there is to train."""
    from distill.cli.output import print_methods, print_recipe, print_recipes
    from distill.recipe.files import expand, load_recipe, shipped_files

    if methods:
        print_methods()
    elif name is None:
        print_recipes(shipped_files())
    else:
        for recipe in expand(name):
            print_recipe(recipe, load_recipe(recipe, overrides or []))
