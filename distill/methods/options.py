"""Checks of a method's options: each returns the value, or names the option and says what is expected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

_T = TypeVar("_T")


def positive(option: str, value: float) -> float:
    """`value`, if it is a finite number above zero.

    Raises:
        XkdError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise XkdError(f"{option}: {short(value)} found; expected a number above 0")
    return value


def positives(option: str, values: Sequence[float]) -> tuple[float, ...]:
    """`values` as a tuple, if they are a list of one or more finite numbers above zero.

    Raises:
        XkdError: they are not.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise XkdError(f"{option}: {short(values)} found; expected a list of numbers above 0")
    return tuple(positive(option, value) for value in values)


def count(option: str, value: int, minimum: int = 1) -> int:
    """`value`, if it is a whole number of at least `minimum`.

    Raises:
        XkdError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise XkdError(f"{option}: {short(value)} found; expected an integer of at least {minimum}")
    return value


def fraction(option: str, value: float) -> float:
    """`value`, if it is a number from 0 to below 1.

    Raises:
        XkdError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise XkdError(f"{option}: {short(value)} found; expected a number from 0 to below 1")
    return value


def several(option: str, values: Sequence[_T], kind: type[_T]) -> tuple[_T, ...]:
    """`values` as a tuple, if they are a list of that kind.

    Raises:
        XkdError: they are not; a text is no list of its letters.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(v, kind) for v in values):
        raise XkdError(f"{option}: {short(values)} found; expected a list of {kind.__name__}")
    return tuple(values)


def one_of(option: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """`value`, if it is among `allowed`.

    Raises:
        XkdError: it is not.
    """
    if value not in allowed:
        raise XkdError(f"{option}: {short(value)} found; expected one of {', '.join(map(repr, allowed))}")
    return value
