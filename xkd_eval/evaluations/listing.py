"""What there is to be known of a test before it is run, for `xkd-eval tests`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from xkd_eval.errors import XkdError
from xkd_eval.evaluations import TESTS, option_names
from xkd_eval.evaluations.base import NEEDS, Evaluation
from xkd_eval.evaluations.guard import owed
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.scores import ScoreSpec


@dataclass(frozen=True)
class TestInfo:
    """A test as a list shows it.

    Attributes:
        name: what `--test` takes.
        question: what it asks, in a sentence.
        citation: authors, title, venue and year.
        scores: of its defaults, those that every table shows.
        cost: forwards an image.
        needs: of "labels", "masks", "boxes", "reference".
        options: name -> default, and what else it may be where that is a list of words.
        is_core: whether `--test core` has it.
    """

    name: str
    question: str
    citation: str
    scores: tuple[ScoreSpec, ...]
    cost: str
    needs: tuple[str, ...]
    options: dict[str, tuple[Any, tuple[str, ...]]]
    is_core: bool


def list_tests(names: Sequence[str] = ()) -> list[TestInfo]:
    """Tests by name, by default all; of all, one that fails to import is left out with a warning.

    Raises:
        XkdError: an unknown name.
    """
    return [_info(name, kind) for name, kind in ([(name, TESTS[name]) for name in names] or TESTS.items())]


def _info(name: str, kind: type[Evaluation]) -> TestInfo:
    hints = get_type_hints(kind.Options)
    return TestInfo(
        name=name,
        question=kind.question or kind.title,
        citation=kind.citation,
        scores=_scores(kind),
        cost=kind.cost,
        needs=tuple(need for need in NEEDS if getattr(kind, f"needs_{need}")),
        options={option: (default, _words(hints[option])) for option, default in option_names(kind).items()},
        is_core=kind.is_core,
    )


def _scores(kind: type[Evaluation]) -> tuple[ScoreSpec, ...]:
    """None of a test that cannot be made without an option."""
    with suppress(XkdError), owed(kind, "its Options"):
        specs = kind.create(Rules(), kind.Options()).specs()
        return tuple(spec for spec in specs if spec.x is None and spec.is_at_least("shown"))
    return ()


def _words(hint: Any) -> tuple[str, ...]:
    """The words of a Literal, or of a Literal that may be None."""
    parts = (hint, *get_args(hint)) if get_origin(hint) is not Literal else (hint,)
    return next((tuple(map(str, get_args(part))) for part in parts if get_origin(part) is Literal), ())
