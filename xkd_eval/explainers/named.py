"""From what a user writes, "integrated_gradients:steps=200", to an explainer."""

from __future__ import annotations

import re
import types
from dataclasses import fields
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from xkd_eval.errors import XkdError
from xkd_eval.explainers.base import EXPLAINERS, Explainer
from xkd_eval.registry import name_and_rest, nearest

# A comma within brackets separates the values of one option.
_BETWEEN_OPTIONS = re.compile(r",(?![^(\[]*[)\]])")


class ExplainerInfo(NamedTuple):
    """A line of `xkd-eval explainers`; cost is per image, in forwards (F) and backwards (B)."""

    name: str
    citation: str
    cost: str


def list_explainers() -> list[ExplainerInfo]:
    """All explainers by name, with citation and cost; one that fails to import is left out with a warning."""
    return [ExplainerInfo(name, kind.citation, kind.cost) for name, kind in EXPLAINERS.items()]


def create_explainer(name: str, **options: Any) -> Explainer:
    """The explainer known under a name, with its options.

    Args:
        name: as `list_explainers` has it, or "py:package.module:Class"; options may follow behind a colon, as
            "integrated_gradients:steps=200" or "mine:sizes=(1,2),smooth=true", and are read as their types.
        options: the explainer's own; see its class.

    Raises:
        XkdError: unknown name, unknown option, or a value that the option does not take.

    Example:
        >>> from xkd_eval import create_explainer
        >>> create_explainer("occlusion:windows=5")
        Occlusion(windows=5, overlap=2)
        >>> create_explainer("occlusion", windows=5, overlap=1)
        Occlusion(windows=5, overlap=1)
    """
    name, text = name_and_rest(name)
    kind = EXPLAINERS[name]
    written = _written_options(kind, text)
    if twice := sorted(written.keys() & options.keys()):
        raise XkdError(f"explainer '{kind.name}': {twice[0]} is given twice; leave one out")
    for option in options:
        _check_known(kind, option)
    return kind(**written, **options)


def as_explainer(given: str | Explainer) -> Explainer:
    """An explainer as every function takes it.

    Args:
        given: what `create_explainer` takes, or an Explainer, which comes back as it is.

    Raises:
        XkdError: as `create_explainer`, or something else was given.
    """
    if isinstance(given, Explainer):
        return given
    if isinstance(given, str):
        return create_explainer(given)
    found = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
    raise XkdError(f"explainer: {found} found; expected a name such as 'cam', or an Explainer such as Cam()")


def _written_options(kind: type[Explainer], text: str) -> dict[str, Any]:
    """ "steps=200,noise=0.1" -> {"steps": 200, "noise": 0.1}."""
    options: dict[str, Any] = {}
    for part in filter(None, map(str.strip, _BETWEEN_OPTIONS.split(text))):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise XkdError(f"explainer '{kind.name}': {part!r} found; expected option=value, separated by commas")
        _check_known(kind, option)
        if option in options:
            raise XkdError(f"explainer '{kind.name}': {option} is given twice; leave one out")
        options[option] = _read(kind, option, value)
    return options


def _check_known(kind: type[Explainer], option: str) -> None:
    taken = [field.name for field in fields(kind)]
    if option not in taken:
        raise XkdError(f"explainer '{kind.name}': unknown option {option!r}; {nearest(option, taken)}")


def _read(kind: type[Explainer], option: str, text: str) -> Any:
    """A value as the option's type; "none" where that is one of its types, "(a,b)" for several."""
    from pydantic import TypeAdapter, ValidationError

    hint = get_type_hints(kind)[option]
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if text.lower() == "none" and type(None) in kinds:
        return None
    value: Any = text
    if any(get_origin(one) in (tuple, list) for one in kinds):
        value = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ").partition(", unable")[0]
        raise XkdError(f"explainer '{kind.name}': {option} is {text!r}; expected {expected}") from None
