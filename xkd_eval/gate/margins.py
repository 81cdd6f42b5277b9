"""Which scores a gate asks about, and by how much each may be worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from xkd_eval.arguments import Within, taken
from xkd_eval.comparison.tables import WHERE_RIGHT
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.foreign import short
from xkd_eval.registry import near

MARGIN = 2.0
"""By how many points a score may be worse, unless it is said otherwise."""

DEFAULT = "default"
"""Among margins it stands for the scores that a gate asks about by itself."""

Margins = float | Mapping[str, float]
"""One for the default scores; or name of a score, or DEFAULT -> its own."""


@dataclass(frozen=True)
class AskedScore:
    """A score that a gate asks about.

    Attributes:
        test: its test.
        spec: what is known of it.
        where_right: whether it is of the images that both models classify correctly.
        margin: by how much it may be worse: points for a share, the score's own unit otherwise.
    """

    test: str
    spec: ScoreSpec
    where_right: bool
    margin: float = MARGIN

    @property
    def score(self) -> str:
        """As the tables of a comparison call it."""
        return f"{self.spec.name}{WHERE_RIGHT if self.where_right else ''}"

    @property
    def name(self) -> str:
        """As margins call it: with its test."""
        return f"{self.test}.{self.score}"


def asked_scores(tests: Mapping[str, Evaluation], margins: Margins) -> list[AskedScore]:
    """The scores that margins name, in the tests' order.

    The default ones are the headline scores of every test that are shares and have a better direction; those that grow
    with accuracy on the images that both models classify correctly.

    Args:
        tests: by name, which both models were scored by.
        margins: see `Margins`.

    Raises:
        XkdError: a margin that is no number of at least 0, a score that is unknown, is called alike in two tests or has
            no better direction, or none at all.
    """
    known = {asked.name: asked for name, test in tests.items() for asked in _scores(name, test)}
    chosen: dict[str, float] = {}
    given = margins if isinstance(margins, Mapping) else {DEFAULT: margins}
    if not given:
        raise XkdError("margins: none given; expected a number, or a number a score")
    for name, value in given.items():
        margin = taken("margins" if name == DEFAULT else f"margins {name}", value, Annotated[float, Within(0)])
        if name == DEFAULT:
            chosen = {**{other: margin for other, asked in known.items() if _is_default(asked)}, **chosen}
            if not chosen:
                raise XkdError(f"margins: no score of {', '.join(tests)} is a default one; name some of {_some(known)}")
            continue
        found = _named(name, known)
        if not known[found].spec.sign:
            raise XkdError(f"margins: of {found} neither direction is better, so no model is worse in it; leave it out")
        chosen[found] = margin
    return [replace(asked, margin=chosen[name]) for name, asked in known.items() if name in chosen]


def _scores(name: str, test: Evaluation) -> list[AskedScore]:
    """All that a comparison compares."""
    specs = [spec for spec in test.specs() if spec.x is None and spec.is_at_least("compared")]
    return [
        AskedScore(name, spec, where_right)
        for spec in specs
        for where_right in ((False, True) if spec.where_right else (False,))
    ]


def _is_default(asked: AskedScore) -> bool:
    spec = asked.spec
    is_share = spec.unit == "%" and spec.sign != 0
    return is_share and spec.is_at_least("headline") and asked.where_right == spec.where_right


def _named(name: Any, known: Mapping[str, AskedScore]) -> str:
    """The full name of a score; its test may be left out where no other has one of that name."""
    if name in known:
        return str(name)
    found = [full for full, asked in known.items() if asked.score == name]
    if len(found) > 1:
        raise XkdError(f"margins: {len(found)} tests have a score {name}; give one of {', '.join(found)}")
    if not found:
        raise XkdError(f"margins: unknown score {short(name)}; {_nearest(str(name), known)}")
    return found[0]


def _nearest(name: str, known: Mapping[str, AskedScore]) -> str:
    """The full names of those that are most like it, with or without their test; all where none is."""
    by_score = {asked.score: full for full, asked in known.items()}
    found = near(name, known) or [by_score[score] for score in near(name, by_score)]
    return f"nearest: {', '.join(found)}" if found else f"expected some of {_some(known)}"


def _some(known: Mapping[str, AskedScore]) -> str:
    return ", ".join(name for name, asked in known.items() if asked.spec.sign)
