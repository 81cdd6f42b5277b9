"""The user's corrections to a model's Preprocess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.registry import nearest

FIELDS = tuple(field.name for field in fields(Preprocess))


def with_overrides(preprocess: Preprocess, overrides: Mapping[str, Any]) -> Preprocess:
    """A Preprocess with some fields replaced.

    Args:
        preprocess: the model's own.
        overrides: field to value; None keeps the model's. `size` may be one number, `mean` and `std` one for all
            channels.

    Raises:
        XkdError: unknown field (the nearest is named), or a value that it cannot have; names the field.
    """
    for name in overrides:
        if name not in FIELDS:
            raise XkdError(f"{name}: unknown; {nearest(str(name), FIELDS)}")
    return replace(preprocess, **{name: value for name, value in overrides.items() if value is not None})
