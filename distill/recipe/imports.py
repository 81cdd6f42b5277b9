"""A recipe's `imports`: modules that make names known before the recipe's names are looked up."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError


def import_modules(recipe: Recipe) -> None:
    """Import a recipe's modules; those of the working directory come first, as for a script there.

    Args:
        recipe: its `imports`, "package.module" each.

    Raises:
        XkdError: a module that is not found or fails to import, by its name.
    """
    here = str(Path.cwd())
    if recipe.imports and here not in sys.path and "" not in sys.path:
        # It stays there: processes that decode images look the module up again.
        sys.path.insert(0, here)
    for module in recipe.imports:
        try:
            import_module(module)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            reason = (str(error).strip().splitlines() or [""])[0]
            raise XkdError(f"imports: {module} cannot be imported ({type(error).__name__}: {reason})") from error
