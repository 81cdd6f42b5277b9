"""What every call of a test is owed and held to: photographs of its own, a checked result, its name in the error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from functools import cached_property, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import copied
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.batch import Batch, Network
from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.returned import CHECKS, named, read_only
from xkd_eval.explainers.base import Context, Explainer
from xkd_eval.foreign import short
from xkd_eval.registry import described, place_of

Method = Callable[..., Any]


def guard_methods(kind: type, base: type) -> None:
    """Put what every call is owed around the methods of a test, also those that it has of a class beside it.

    Args:
        kind: the test's class.
        base: Evaluation, whose own methods need none.
    """
    for name in (*CHECKS, "__init__"):
        method = inspect.getattr_static(kind, name)
        function = getattr(method, "__func__", method)
        if method is inspect.getattr_static(base, name) or hasattr(function, "_xkd_guarded"):
            continue
        if not inspect.isfunction(function) or getattr(function, "__isabstractmethod__", False):
            continue
        guarded = _guarded(name, _with_self(function) if isinstance(method, staticmethod) else function)
        setattr(kind, name, classmethod(guarded) if isinstance(method, classmethod) else guarded)


def _with_self(function: Method) -> Method:
    """A static method as one that every instance has."""

    @wraps(function)
    def call(_: Any, *given: Any, **others: Any) -> Any:
        return function(*given, **others)

    return call


def _guarded(name: str, method: Method) -> Method:
    """A method within what it is owed: whatever is raised and returned is told by the test's name."""
    check = CHECKS.get(name)

    @wraps(method)
    def call(self: Any, *given: Any, **others: Any) -> Any:
        given = tuple(map(_own, given))
        others = {key: _own(value) for key, value in others.items()}
        with owed(self, f"its {name}"):
            try:
                found = method(self, *given, **others)
            except XkdError as error:
                if name != "specs":
                    raise
                raise XkdError(f"{named(self)}: {error}") from None  # a ScoreSpec does not know whose it is
            return found if check is None else check(self, found, *given, *others.values())

    call._xkd_guarded = True  # type: ignore[attr-defined]
    return call


@contextmanager
def owed(test: Any, what: str) -> Iterator[None]:
    """Whatever a test of another package raises within becomes one line; errors of this project pass as they are.

    Args:
        test: the test or its class.
        what: of it is asked.
    """
    try:
        yield
    except XkdError:
        raise
    except (Exception, SystemExit) as error:  # a test of another package may raise anything
        found = f"{described(error)}, in {place_of(error)}"
        raise XkdError(f"{named(test)}: {what} failed ({found}); mend it, or leave it out") from error


def check_kind(kind: type) -> None:
    """Raise XkdError where a test's class says less of itself than every study needs."""
    for attribute in ("name", "title", "citation"):
        found = getattr(kind, attribute, None)
        if not isinstance(found, str) or not found.isprintable() or not found.strip():
            what = f"{attribute} is {short(found)}" if hasattr(kind, attribute) else f"it has no {attribute}"
            raise XkdError(f"{named(kind)}: {what}; expected a text as a class attribute")
    if undefined := sorted(getattr(kind, "__abstractmethods__", ())):
        raise XkdError(f"{named(kind)}: it does not define {' and '.join(undefined)}; expected both rows and specs")
    if not is_dataclass(getattr(kind, "Options", None)):
        raise XkdError(f"{named(kind)}: Options is {short(getattr(kind, 'Options', None))}; expected a dataclass")
    presets = getattr(kind, "presets", None)
    if not isinstance(presets, Mapping) or not all(isinstance(preset, Preset) for preset in presets.values()):
        raise XkdError(
            f"{named(kind)}: presets is {short(presets)}; expected names -> xkd_eval.evaluations.presets.Preset"
        )
    protocol = getattr(kind, "Protocol", None)
    if not (isinstance(protocol, type) and issubclass(protocol, Rules)):
        raise XkdError(
            f"{named(kind)}: Protocol is {short(protocol)}; expected a subclass of xkd_eval.evaluations.Rules"
        )
    rules = {field.name for field in fields(protocol)}
    if unknown := sorted({rule for preset in presets.values() for rule in preset.rules if rule not in rules}):
        raise XkdError(f"{named(kind)}: its presets have a rule {unknown[0]!r}, which is no field of its Protocol")


def check_made(test: Any, reserved: Sequence[str]) -> None:
    """Check a test once, before anything is computed: what it says of itself, its rules, its scores, its settings.

    Args:
        test: as it is to be run.
        reserved: what a summary calls its own facts by, which is no score's name.

    Raises:
        XkdError: the first fault.
    """
    check_kind(type(test))
    if not isinstance(getattr(test, "protocol", None), Rules):
        raise XkdError(f"{named(test)}: it has no protocol; call super().__init__(protocol)")
    with owed(test, "the hash of its protocol"):
        _ = test.protocol.hash
    names = [spec.name.partition(".")[0] for spec in test.specs()]
    if taken := [name for name in names if name in reserved]:
        raise XkdError(
            f"{named(test)}: a score is called {taken[0]!r}, as a summary calls a fact of its own; choose another name"
        )
    if "chunk" in test.settings():
        raise XkdError(f"{named(test)}: a setting is called 'chunk', as a run calls its own; choose another name")


def _own(given: Any) -> Any:
    """What one call may do with what it likes: others are given the same batch, rows or summary."""
    if isinstance(given, Batch):
        return _own_batch(given)
    if isinstance(given, dict):
        return {
            key: read_only(value) if isinstance(value, np.ndarray) else deepcopy(value) for key, value in given.items()
        }
    return given


def _own_batch(batch: Batch) -> Batch:
    """Copies, as a test may work in place; the caller's classifier is not reached."""
    with torch.inference_mode(False):
        values: dict[str, Any] = {field.name: getattr(batch, field.name) for field in fields(batch)}
        clones: dict[str, Any] = {
            name: value.detach().clone() for name, value in values.items() if isinstance(value, Tensor)
        }
        for name in ("boxes", "mask_boxes"):
            if values[name] is not None:
                clones[name] = tuple(boxes.clone() for boxes in values[name])
    reference = None if batch.reference is None else _own_batch(batch.reference)
    return replace(batch, **clones, network=_OwnNetwork(batch.network), reference=reference)


class _OwnNetwork:
    """A network as one call may use it; see `Network`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    @cached_property
    def classifier(self) -> Classifier:
        return copied(self._network.classifier)  # made for those who ask for it

    @property
    def chunk(self) -> int:
        return self._network.chunk

    @property
    def clean_chunk(self) -> int:
        return self._network.clean_chunk

    def classify(self, images: Tensor) -> Tensor:
        return self._network.classify(images)

    def explain(
        self,
        explainer: Explainer,
        images: Tensor,
        classes: Tensor,
        ids: Sequence[str],
        classifier: Classifier | None = None,
        context: Context | None = None,
    ) -> Tensor:
        return self._network.explain(explainer, images, classes, ids, classifier, context)
