"""From what a user writes, "integrated_gradients:steps=200", to an explainer."""

from __future__ import annotations

from typing import Any, NamedTuple

from xkd_eval.arguments import fields_taken, public
from xkd_eval.errors import XkdError
from xkd_eval.explainers.base import EXPLAINERS, Explainer
from xkd_eval.registry import name_and_rest
from xkd_eval.written import check_option, written_options


class ExplainerInfo(NamedTuple):
    """A line of `xkd-eval explainers`; cost is per image, in forwards (F) and backwards (B)."""

    name: str
    citation: str
    cost: str


def list_explainers() -> list[ExplainerInfo]:
    """All explainers by name, with citation and cost; one that fails to import is left out with a warning."""
    return [ExplainerInfo(name, kind.citation, kind.cost) for name, kind in EXPLAINERS.items()]


def differentiable_explainers() -> list[str]:
    """Names of ours whose map can be differentiated with respect to the network's weights."""
    return [name for name, kind in EXPLAINERS.items() if EXPLAINERS.is_own(name) and may_be_differentiated(kind)]


def may_be_differentiated(kind: type[Explainer]) -> bool:
    """Whether a map may have a graph: those of others have to be asked."""
    if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
        return not kind.model_free
    return kind.differentiable is not Explainer.differentiable


@public()
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
    where = f"explainer '{kind.name}'"
    written = written_options(kind, text, where)
    if twice := sorted(written.keys() & options.keys()):
        raise XkdError(f"{where}: {twice[0]} is given twice; leave one out")
    for option in options:
        check_option(kind, option, where)
    return kind(**written, **fields_taken(kind, options))


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
