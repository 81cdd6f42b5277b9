"""The tests, one folder each. `TESTS` knows them by name, those of other packages too (entry points `xkd.tests`).

Importing this package imports no test and no torch: a command line lists options before it needs either.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from xkd_eval.arguments import public
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short
from xkd_eval.registry import Registry

if TYPE_CHECKING:
    from xkd_eval.evaluations.base import Evaluation, NoOptions
    from xkd_eval.evaluations.batch import Batch
    from xkd_eval.evaluations.protocol import Rules
    from xkd_eval.evaluations.scores import Columns, ScoreSpec

_E = TypeVar("_E", bound="type[Evaluation]")

__all__ = [
    "TESTS",
    "Batch",
    "Columns",
    "Evaluation",
    "NoOptions",
    "Rules",
    "ScoreSpec",
    "option_names",
    "register_test",
]

_HOME = {
    "Batch": "xkd_eval.evaluations.batch",
    **dict.fromkeys(("Evaluation", "NoOptions"), "xkd_eval.evaluations.base"),
    **dict.fromkeys(("Columns", "ScoreSpec"), "xkd_eval.evaluations.scores"),
    "Rules": "xkd_eval.evaluations.protocol",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def _checked(thing: object) -> type[Evaluation]:
    from xkd_eval.evaluations.base import Evaluation
    from xkd_eval.evaluations.guard import check_kind

    if isinstance(thing, type) and issubclass(thing, Evaluation):
        check_kind(thing)
        return thing
    raise XkdError(f"tests: {short(thing)} found; expected a subclass of xkd_eval.evaluations.Evaluation")


TESTS: Registry[type[Evaluation]] = Registry(
    "tests", group="xkd.tests", home=("xkd_eval.evaluations.shipped",), check=_checked, listing="xkd-eval tests"
)
"""Every test by name."""


@public()
def register_test(test: _E) -> _E:
    """Class decorator: make a test known under its `name`, in this process.

    An installed package needs no decorator: it names its class as an entry point of the group `xkd.tests`.

    Args:
        test: a subclass of Evaluation; one that is defined again in the same place replaces what it was.

    Raises:
        XkdError: the name is taken, it is no test, or it lacks what a test must say of itself.

    Example:
        >>> import xkd_eval
        >>> @xkd_eval.register_test
        ... class Certainty(xkd_eval.Evaluation):
        ...     name, title, citation, needs_maps, in_comparisons = "certainty", "Certainty", "none", False, False
        ...     def rows(self, batch):
        ...         return {"certainty": batch.logits.softmax(1).amax(1).cpu().numpy()}
        ...     def specs(self):
        ...         return (xkd_eval.ScoreSpec("certainty", "certainty", lambda means: means["certainty"]),)
        >>> xkd_eval.evaluate("embedded/kd", tests="certainty", limit=4).scores["score"].item()
        'certainty'
    """
    return TESTS.register(test)


def option_names(kind: type[Evaluation]) -> dict[str, Any]:
    """Option -> default, of what a test takes beside the rules that all share."""
    return {field.name: field.default if field.default is not MISSING else None for field in fields(kind.Options)}
