"""Saliency maps: the closed-form CAM, adapters to grad-cam and captum, transformers, references, stored maps."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any, NamedTuple

from xkd_eval.errors import XkdError
from xkd_eval.explainers import (  # noqa: F401 - each registers its explainers
    cam,
    captum,
    fullgrad,
    gradcam,
    perturbations,
    references,
    transformers,
)
from xkd_eval.explainers.base import Context, Explainer, register, registered

__all__ = ["Context", "Explainer", "ExplainerInfo", "create_explainer", "list_explainers", "register"]


class ExplainerInfo(NamedTuple):
    """A line of `xkd-eval explainers`; cost is per image, in forwards (F) and backwards (B)."""

    name: str
    citation: str
    cost: str


def create_explainer(name: str, **options: Any) -> Explainer:
    """The explainer known under `name`.

    Args:
        name: as `list_explainers` has it.
        options: the explainer's own; see its class.

    Raises:
        XkdError: unknown name, unknown option, or a value that the option does not take.
    """
    known = registered()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known)
        raise XkdError(f"explainer: unknown {name!r}; nearest: {', '.join(nearest)} (`xkd-eval explainers` lists all)")
    taken = [field.name for field in fields(known[name])]
    for option in options:
        if option not in taken:
            expected = f"it takes: {', '.join(taken)}" if taken else "it takes none"
            raise XkdError(f"explainer {name}: unknown option {option!r}; {expected}")
    return known[name](**options)


def list_explainers() -> list[ExplainerInfo]:
    """All explainers by name, with citation and cost."""
    return [ExplainerInfo(name, kind.citation, kind.cost) for name, kind in registered().items()]


def as_explainer(given: str | Explainer) -> Explainer:
    """An explainer by name, or as it is."""
    return given if isinstance(given, Explainer) else create_explainer(given)
