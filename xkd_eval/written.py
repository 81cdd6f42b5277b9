"""What a user writes as text: options behind a name, "name:steps=200,sizes=(1,2)", numbers, sizes."""

from __future__ import annotations

import re
import types
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from xkd_eval.errors import XkdError
from xkd_eval.registry import nearest

# A comma within brackets separates the values of one option.
_BETWEEN_OPTIONS = re.compile(r",(?![^(\[]*[)\]])")


def written_options(kind: type, text: str, where: str) -> dict[str, Any]:
    """What stands behind a name, as the types of a dataclass's fields.

    Args:
        kind: a dataclass.
        text: "steps=200,noise=0.1", or nothing.
        where: begins the messages: "explainer 'gradient_shap'".

    Raises:
        XkdError: an unknown option (the nearest are named), one given twice, or a value that it does not take.
    """
    options: dict[str, Any] = {}
    for part in filter(None, map(str.strip, _BETWEEN_OPTIONS.split(text))):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise XkdError(f"{where}: {part!r:.100} found; expected option=value, separated by commas")
        check_option(kind, option, where)
        if option in options:
            raise XkdError(f"{where}: {option} is given twice; leave one out")
        options[option] = _read(kind, option, value, where)
    return options


def written_numbers(argument: str, text: str) -> tuple[float, ...]:
    """Comma-separated numbers; a quotient such as 127/255 is one.

    Args:
        argument: begins the message.
        text: as it was written.

    Raises:
        XkdError: something else.
    """
    try:
        return tuple(_number(part) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise XkdError(f"{argument}: got {text!r}; expected numbers separated by commas") from None


def written_size(argument: str, text: str) -> tuple[int, int]:
    """ "224", or "224x320": (height, width); arguments as for `written_numbers`.

    Raises:
        XkdError: something else.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and len(side) < 10 and int(side) > 0 for side in sides):
        raise XkdError(f"{argument}: got {text!r}; expected 224, or 224x320 (height x width)")
    return int(sides[0]), int(sides[-1])


def check_option(kind: type, option: str, where: str) -> None:
    """Raise XkdError where a dataclass has no such field."""
    taken = [field.name for field in fields(kind)]
    if option not in taken:
        raise XkdError(f"{where}: unknown option {option!r:.100}; {nearest(option, taken)}")


def _read(kind: type, option: str, text: str, where: str) -> Any:
    """A value as the option's type; "none" where that is one of its types, "(a,b)" for several."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    hint = get_type_hints(kind)[option]
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if text.lower() == "none" and type(None) in kinds:
        return None
    value: Any = text
    if any(get_origin(one) in (tuple, list) for one in kinds):
        value = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ").partition(", unable")[0]
        raise XkdError(f"{where}: {option} is {text!r:.100}; expected {expected}") from None


def _number(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator) if denominator else float(numerator)
