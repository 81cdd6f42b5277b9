"""Plain values, as YAML has them, as a Recipe; the first fault as one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError


def parse_recipe(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Plain values as a Recipe.

    Args:
        values: nested, as YAML has them.
        source: whose they are, for the messages.

    Raises:
        XkdError: the first fault: an unknown key with the nearest known one, a missing key, a value out of range.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in _place(first["loc"], values))
        raise XkdError(f"{source}: {place + ': ' if place else ''}{_explained(first)}") from None


def _place(location: tuple[int | str, ...], values: Any) -> list[int | str]:
    """The keys that lead to a fault, without the tags that pydantic adds for unions."""
    place = []
    for part in location:
        if isinstance(values, Mapping) and part not in values and part in (values.get("name"), values.get("loader")):
            continue
        place.append(part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return place


def _explained(fault: Any) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return "missing; add it"
    if fault["type"] == "value_error":
        return message
    if fault["type"] == "union_tag_not_found":
        return f"the key {fault['ctx']['discriminator']} is missing"
    found = "" if fault["type"] == "union_tag_invalid" else f"{fault['input']!r} found; "
    return found + message[0].lower() + message[1:]
