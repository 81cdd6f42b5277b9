"""Methods by name: this project's, those of installed packages, and those of a user's own file."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from distill.methods.base import Method
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short
from xkd_eval.registry import Registry, nearest

_M = TypeVar("_M", bound=type[Method])

_MODULES = (
    "cross_entropy",
    "kd",
    "tf_kd",
    "ttm",
    "wttm",
    "dkd",
    "dist",
    "mlkd",
    "mld",
    "token_kd",
    "sdd",
    "fitnet",
    "vid",
    "at",
    "nst",
    "ofd",
    "reviewkd",
    "norm",
    "vitkd",
    "sp",
    "rkd",
    "pkt",
    "crd",
    "srd",
    "simkd",
    "cat_kd",
    "e2kd",
    "explanation_kd",
    "exp_kd",
)


def _checked(thing: object) -> type[Method]:
    if not isinstance(thing, type) or not issubclass(thing, Method):
        raise XkdError(f"method: {thing!r} found; expected a subclass of distill.Method")
    for attribute in ("name", "citation", "requires"):
        if not hasattr(thing, attribute):
            raise XkdError(f"method: {thing.__qualname__} has no `{attribute}`; set it in the class")
    return thing


METHODS: Registry[type[Method]] = Registry(
    "method",
    group="xkd.methods",
    home=[f"distill.methods.{module}" for module in _MODULES],
    check=_checked,
    listing="xkd-distill recipes --methods",
)
"""The classes that a recipe names under `losses:`."""


def register(method: _M) -> _M:
    """Class decorator: make a method known under its `name`, so that recipes may list it.

    A class that is defined again in the same place, as a notebook's cell that is run twice does, replaces itself.

    Args:
        method: a subclass of Method with `name`, `citation` and `requires`.

    Raises:
        XkdError: no such class, or another one has the name.

    Example:
        >>> import distill
        >>> @distill.register
        ... class Sharpness(distill.Method):
        ...     name = "sharpness"
        ...     citation = "an example"
        ...     requires = frozenset()
        ...
        ...     def losses(self, student, teacher, labels, indices):
        ...         log_p = student.logits.log_softmax(1)
        ...         return {"sharpness": -(log_p.exp() * log_p).sum(1).mean()}
    """
    checked = _checked(method)
    METHODS.add(checked.name, checked)
    return method


def check_options(name: str, options: Iterable[str], others: Iterable[str] = ()) -> None:
    """Refuse options that a method has not.

    Args:
        name: of METHODS, or "py:package.module:Class".
        options: names of them.
        others: what may have been meant beside the method's own.

    Raises:
        XkdError: names the nearest.
    """
    known = [option for option in inspect.signature(METHODS[name].__init__).parameters if option != "self"]
    for option in options:
        if option not in known:
            raise XkdError(f"{name}: unknown option {short(option)}; {nearest(option, [*known, *others])}")


def create_method(name: str, /, **options: Any) -> Method:
    """A method with its options, as a recipe has it. It is a module: in a loop of one's own call its `setup` once with
    the passes of a batch, where it trains layers or keeps a memory, and give the optimiser its parameters. What asks
    for the classes of the training images (crd) is told them by `see_labels` before.

    Args:
        name: one that `xkd-distill recipes --methods` lists, or "py:package.module:Class".
        options: its constructor's keyword arguments.

    Raises:
        XkdError: unknown name, unknown option (the message names the nearest), or a value outside its range.

    Example:
        >>> import distill, torch
        >>> student, teacher = (distill.Pass(torch.randn(8, 10, requires_grad=own)) for own in (True, False))
        >>> kd = distill.create_method("kd", temperature=2)
        >>> losses = kd(student, teacher, labels=torch.arange(8))
        >>> list(losses), losses["kd"].requires_grad
        (['kd'], True)
    """
    method = METHODS[name]
    check_options(name, options)
    with reading(f"{name}: it cannot be made by these options", "see what it takes"):
        return method(**options)
