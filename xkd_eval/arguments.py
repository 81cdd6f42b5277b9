"""Arguments of public functions: unknown names, and values of a wrong kind, are refused in one line that names them."""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from xkd_eval.errors import XkdError, renamed
from xkd_eval.foreign import short
from xkd_eval.registry import nearest

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "several, each True or False"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
    type(None): ("None", "several"),
}
"""The kinds that are checked here -> what messages call one and several; functions check their others themselves."""


@dataclass(frozen=True)
class Within:
    """The bounds of a number, both included, in its annotation: `Annotated[int, Within(1)]`."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        low, high = (f"{bound:,}" for bound in (self.low, self.high))
        return f"of at least {low}" if math.isinf(self.high) else f"from {low} to {high}"


MOST_WORKERS = 1024
"""Processes that may be asked for; machines have fewer cores, and some systems end at more."""

Workers = Annotated[int, Within(0, MOST_WORKERS)]
"""How many processes decode; 0 is none beside the one that asks."""


class _UnfitError(Exception):
    """A value is not of a kind."""


def public(**inner: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a public function: what nothing reads, and plain values of a wrong kind, are refused by name.

    Python's own error would name an unknown keyword too, but not the one that was meant; and `limit=True` or
    `seed="0"` would be taken for something.

    Args:
        inner: what functions beneath call an argument -> this function's name for it, for their messages.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        known = None if inspect.Parameter.VAR_KEYWORD in kinds else [*signature.parameters]

        @functools.wraps(function)
        def call(*given: P.args, **named: P.kwargs) -> R:
            try:
                if known is not None:
                    check_known(named, known)
                bound = signature.bind(*given, **named)
                for name, hint in _hints(function).items():
                    if name in bound.arguments:
                        bound.arguments[name] = taken(name, bound.arguments[name], hint)
                return function(*bound.args, **bound.kwargs)
            except XkdError as error:
                error.args = (renamed(str(error), {name: own for name, own in inner.items() if name not in named}),)
                raise

        return call

    return decorate


def check_known(given: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise XkdError for a keyword argument that nothing reads; the nearest that something does is named."""
    for name in given:
        if name not in known:
            raise XkdError(f"{name}: unknown argument; {nearest(name, known, limit=40)}")


def taken(name: str, value: Any, hint: Any) -> Any:
    """An argument's value as its annotation has it.

    Numbers of numpy and torch stand for Python's, a text for a path, any iterable for a tuple; neither True nor "3" nor
    3.0 is a whole number, and NaN and infinity are no numbers.

    Args:
        name: of the argument, for the message.
        value: as it was given.
        hint: of True or False, numbers, texts, paths, choices, None, tuples and unions of these; others take anything.

    Raises:
        XkdError: it is nothing of the kind.
    """
    if not _is_plain(hint):
        return value
    try:
        return _as(hint, value)
    except _UnfitError:
        is_choice = isinstance(value, str) and any(get_origin(member) is Literal for member in _members(hint))
        found = f"unknown value {short(value)}" if is_choice else f"{short(value)} found"
        raise XkdError(f"{name}: {found}; expected {_expected(hint)}") from None


def fields_taken(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the fields of a dataclass, each as its annotation has it.

    Raises:
        XkdError: an unknown field, with the nearest known one, or a value of a wrong kind.
    """
    check_known(values, [field.name for field in fields(kind)])
    hints = _hints(kind)
    return {name: taken(name, value, hints[name]) for name, value in values.items()}


def listed(value: Any) -> list[Any] | None:
    """What an iterable holds, also a generator; None for a text, bytes, a mapping and whatever is no iterable."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | memoryview | Mapping):
        return None
    try:
        return list(value)
    except TypeError:  # arrays without a dimension are iterable by their type alone
        return None


def one_or_more(given: Any, single: Any, where: str, expected: str, among: str) -> list[Any]:
    """One thing, or several, as a list.

    Args:
        given: by the user; also a generator.
        single: the types of one.
        where: begins the messages, the argument first.
        expected: what is, where it is neither; `among`: where one of several is none.

    Raises:
        XkdError: neither one nor several.
    """
    several = [given] if isinstance(given, single) else listed(given)
    if several is None:
        raise XkdError(f"{where}: {short(given)} found; expected {expected}")
    for one in several:
        if not isinstance(one, single):
            raise XkdError(f"{where}: {short(one)} found among them; {among}")
    return several


@functools.cache
def _hints(of: Any) -> dict[str, Any]:
    """Of a class's fields, or of a function's parameters; what it returns may be a type that is not imported."""
    if isinstance(of, type):
        return get_type_hints(of, include_extras=True)
    written = {name: hint for name, hint in of.__annotations__.items() if name != "return"}
    names = inspect.unwrap(of).__globals__  # other decorators may lie between
    return get_type_hints(types.SimpleNamespace(__annotations__=written), names, include_extras=True)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_several(hint: Any) -> bool:
    return get_origin(hint) in (tuple, Sequence)


def _members(hint: Any) -> list[Any]:
    """Of a union; a text comes before a path, which would take it too."""
    members = get_args(hint) if _is_union(hint) else (hint,)
    return sorted(members, key=lambda member: member is Path)


def _is_plain(hint: Any) -> bool:
    if _is_union(hint) or _is_several(hint):
        return all(_is_plain(member) for member in get_args(hint) if member is not Ellipsis)
    if get_origin(hint) is Annotated:
        return _is_plain(get_args(hint)[0])
    return hint in _PLAIN or get_origin(hint) in (Literal, Callable)


def _as(hint: Any, value: Any) -> Any:
    members = _members(hint)
    if isinstance(value, str) and str in members and Path in members:
        _as_one(Path, value)  # a text that stands for a path must be one
    for member in members:
        try:
            return _as_one(member, value)
        except (_UnfitError, OverflowError):  # a whole number beyond every float
            continue
    raise _UnfitError


def _as_one(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _bounded(_as(get_args(kind)[0], value), get_args(kind)[1:])
    if _is_several(kind):
        return _tuple(get_args(kind), value)
    value = _plain(value)
    fits = {
        Literal: lambda: type(value) is str and value in get_args(kind),
        Callable: lambda: callable(value),
        int: lambda: isinstance(value, Integral) and not isinstance(value, bool),
        float: lambda: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value),
        Path: lambda: isinstance(value, str | Path) and str(value) != "" and "\0" not in str(value),
    }
    if not fits.get(origin or kind, lambda: isinstance(value, kind))():
        raise _UnfitError
    return kind(value) if kind in (int, float, Path) else value


def _plain(value: Any) -> Any:
    """A number of numpy or torch as Python's; anything else as it is."""
    if getattr(value, "ndim", None) != 0 or not callable(getattr(value, "item", None)):
        return value
    try:
        return value.item()
    except (RuntimeError, TypeError, ValueError):  # a tensor that holds nothing, as on torch's "meta"
        return value


def _bounded(value: Any, bounds: tuple[Any, ...]) -> Any:
    if not all(bound.low <= value <= bound.high for bound in bounds):
        raise _UnfitError
    return value


def _tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    values = listed(value)
    if values is None:
        raise _UnfitError
    if len(kinds) == 1 or kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(values)
    if len(kinds) != len(values):
        raise _UnfitError
    return tuple(_as(kind, one) for kind, one in zip(kinds, values, strict=True))


def _expected(hint: Any) -> str:
    members = [member for member in _members(hint) if member is not type(None)]
    parts = list(dict.fromkeys(map(_one_expected, members)))
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _one_expected(kind: Any) -> str:
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(arguments)}"
    if get_origin(kind) is Callable:
        return "a function"
    if get_origin(kind) is Annotated:
        return " ".join(map(str, (_expected(arguments[0]), *arguments[1:])))
    if _is_several(kind):
        several = _several(arguments[0])
        return several if len(arguments) == 1 or arguments[-1] is Ellipsis else f"{len(arguments)} {several}"
    return _PLAIN[kind][0]


def _several(kind: Any) -> str:
    """What several of a kind are called, with the bounds of each."""
    if get_origin(kind) is Annotated:
        inner, *bounds = get_args(kind)
        return " ".join(map(str, (_several(inner), *bounds)))
    return _PLAIN.get(kind, ("", "several of them"))[1]
