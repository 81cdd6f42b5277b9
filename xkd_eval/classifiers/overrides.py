"""The user's corrections to a model's Preprocess, checked option by option."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

from xkd_eval.classifiers.preprocess import ChannelOrder, Interpolation, Preprocess, Resize
from xkd_eval.errors import XkdError


def with_overrides(preprocess: Preprocess, overrides: dict[str, Any]) -> Preprocess:
    """A Preprocess with some fields replaced.

    Args:
        preprocess: the model's own.
        overrides: field to value; None keeps the model's. `size` may be one number, `mean` and `std` one for all
            channels.

    Raises:
        XkdError: unknown field, or a value that it cannot have; names the field.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in given:
        if name not in _CHECKS:
            raise XkdError(f"{name}: unknown; a Preprocess has {', '.join(_CHECKS)}")
    return replace(preprocess, **{name: _CHECKS[name](name, value) for name, value in given.items()})


def _size(option: str, value: Any) -> tuple[int, int]:
    height_width = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else ()
    if len(height_width) != 2 or not all(type(side) is int and side > 0 for side in height_width):
        raise XkdError(f"{option}: {value!r} found; expected a side in pixels, or a height and a width, above 0")
    return height_width[0], height_width[1]


def _one_of(choices: tuple[str, ...]) -> Callable[[str, Any], str]:
    def check(option: str, value: Any) -> str:
        if value not in choices:
            raise XkdError(f"{option}: {value!r} found; expected one of {', '.join(choices)}")
        return str(value)

    return check


def _per_channel(option: str, value: Any) -> tuple[float, float, float]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * 3
    if len(values) != 3 or not all(_is_finite(number) for number in values):
        raise XkdError(f"{option}: {value!r} found; expected three finite numbers, one a channel")
    red, green, blue = (float(number) for number in values)
    return red, green, blue


def _positive_per_channel(option: str, value: Any) -> tuple[float, float, float]:
    values = _per_channel(option, value)
    if min(values) <= 0:
        raise XkdError(f"{option}: {value!r} found; expected numbers above 0, which the channels are divided by")
    return values


def _positive(option: str, value: Any) -> float:
    if not _is_finite(value) or value <= 0:
        raise XkdError(f"{option}: {value!r} found; expected a number above 0")
    return float(value)


def _fraction(option: str, value: Any) -> float:
    if not _is_finite(value) or not 0 < value <= 1:
        raise XkdError(f"{option}: {value!r} found; expected a number above 0 and up to 1")
    return float(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "size": _size,
    "resize": _one_of(get_args(Resize)),
    "interpolation": _one_of(get_args(Interpolation)),
    "mean": _per_channel,
    "std": _positive_per_channel,
    "channel_order": _one_of(get_args(ChannelOrder)),
    "value_range": _positive,
    "crop_fraction": _fraction,
}
