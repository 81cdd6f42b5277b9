"""Plain values, as YAML has them, as a Recipe; the first fault as one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.recipe.schema import Recipe
from xkd_eval.foreign import parsed


def parse_recipe(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Plain values as a Recipe.

    Args:
        values: nested, as YAML has them.
        source: whose they are, for the messages.

    Raises:
        XkdError: the first fault: an unknown key with the nearest known one, a missing key, a value out of range.
    """
    return parsed(Recipe, values, source)
