"""What each field of a Preprocess takes: ranges within which a photograph becomes numbers that a network can use."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

_LARGEST_SIDE = 16_384
_NARROWEST_CROP = 0.01  # of the short side: the photograph is scaled to size / crop_fraction
_LARGEST = 1e6  # float32 keeps six digits, so that nothing overflows or vanishes within 1e-6 to 1e6


def checked(field: str, value: Any) -> Any:
    """A field's value in the one form that Preprocess holds.

    Args:
        field: its name.
        value: as a caller or a file has it.

    Raises:
        XkdError: it cannot be; begins with the field's name.
    """
    expected, check = _FIELDS[field]
    taken = check(value)
    if taken is None:
        raise XkdError(f"{field}: {short(value)} found; expected {expected}")
    return taken


def _size(value: Any) -> tuple[int, int] | None:
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(isinstance(side, Integral) and _is_within(side, 1, _LARGEST_SIDE) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _one_of(*choices: str) -> tuple[str, Callable[[Any], str | None]]:
    return f"one of {', '.join(choices)}", lambda value: value if type(value) is str and value in choices else None


def _per_channel(low: float) -> Callable[[Any], tuple[float, ...] | float | None]:
    def check(value: Any) -> tuple[float, ...] | float | None:
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not values or not all(_is_within(number, low, _LARGEST) for number in values):
            return None
        numbers = tuple(float(number) for number in values)
        return numbers if isinstance(value, list | tuple) else numbers[0]

    return check


def _number(low: float, high: float) -> Callable[[Any], float | None]:
    return lambda value: float(value) if _is_within(value, low, high) else None


def _is_within(value: Any, low: float, high: float) -> bool:
    """Whether it is a number of that range; NaN is in none."""
    return isinstance(value, Real) and not isinstance(value, bool) and bool(low <= value <= high)  # type: ignore[operator]


_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "size": (f"a side in pixels, or a height and a width, from 1 to {_LARGEST_SIDE}", _size),
    "resize": _one_of("squash", "crop", "squash_crop"),
    "interpolation": _one_of("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"),
    "mean": ("finite numbers, one a channel, up to 1e6", _per_channel(-_LARGEST)),
    "std": (
        "numbers above 0 (1e-6 to 1e6), one a channel, which the channels are divided by",
        _per_channel(1 / _LARGEST),
    ),
    "channel_order": _one_of("RGB", "BGR"),
    "value_range": ("a number above 0 (1e-6 to 1e6)", _number(1 / _LARGEST, _LARGEST)),
    "crop_fraction": (f"a number above 0 (from {_NARROWEST_CROP}) and up to 1", _number(_NARROWEST_CROP, 1)),
}
