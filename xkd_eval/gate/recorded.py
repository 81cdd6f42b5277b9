"""A side of a gate that is a run directory, or a folder of them: which of its runs are meant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from xkd_eval.errors import XkdError, renamed
from xkd_eval.explainers import Explainer
from xkd_eval.explainers.named import as_explainer
from xkd_eval.foreign import is_there, printable
from xkd_eval.registry import name_and_rest
from xkd_eval.study.answers import CleanPass
from xkd_eval.study.cells import NO_MAPS
from xkd_eval.study.floors import FLOORS, ORACLE
from xkd_eval.study.records import Description, read_record
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.trees import run_directories
from xkd_eval.wording import listed

_MODEL = ",model="
_AGAIN = "run its test again, or give another directory"

Run = tuple[Path, dict[str, Any]]
"""A run directory with its description."""


@dataclass(frozen=True)
class Recorded:
    """The finished runs of one model.

    Attributes:
        results: test -> its run.
        left_out: a sentence for each test that says nothing of a model alone.
    """

    results: dict[str, EvaluationResult]
    left_out: tuple[str, ...] = ()


def directory_of(given: object) -> tuple[Path, str | None] | None:
    """The directory that a side names, and the model whose runs are meant ("runs/mine,model=kd"); None for a model."""
    if not isinstance(given, str | Path):
        return None
    if is_there(given, Path.is_dir):
        return Path(given), None
    path, separator, model = str(given).rpartition(_MODEL)
    return (Path(path), model) if separator and is_there(path, Path.is_dir) else None


def read_recorded(
    path: Path, name: str, argument: str, *, model: str | None = None, explainer: str | Explainer | None = None
) -> Recorded:
    """Read the runs of one model: a run directory, or all tests of it in a folder of run directories.

    Args:
        path: of the directory.
        name: of the model in the tables.
        argument: that named the directory, for the messages.
        model: whose runs are meant, where the folder has several's.
        explainer: whose maps are meant, where there are several's.

    Raises:
        XkdError: no run, one that is unfinished or damaged, or several of which it is not said which is meant.
    """
    places = run_directories(path, argument)
    if not places:
        raise XkdError(
            f"{argument}: {str(path)!r} holds no run; expected a run directory, or what `evaluate` or `compare` left"
        )
    read = [(place, read_record(place / "protocol.json", Description, _AGAIN, argument)) for place in places]
    runs = [(place, record) for place, record in read if record["test"] != CleanPass.name]
    pairs = dict.fromkeys(says_nothing(record["test"]) for _, record in runs if "reference" in record)
    wanted = None if explainer is None else _Wanted.of(explainer)
    alone = [run for run in runs if "reference" not in run[1] and (places == [path] or _is_own(run[1], wanted))]
    where = f"{argument}: {str(path)!r}"
    if not alone:
        raise XkdError(f"{where}: {'; '.join(pairs) or 'no run in it is of a model on its own maps'}")
    chosen = _of_one_explainer(_of_one_model(alone, str(path), argument, model), where, wanted)
    _check_one_a_test(chosen, where)
    with said_of(argument):
        results = [EvaluationResult.read(place, name) for place, _ in chosen]
    return Recorded({result.test.name: result for result in results}, tuple(pairs))


def plain_options(explainer: Explainer) -> dict[str, Any]:
    """An explainer's options as a record has them."""
    return json.loads(json.dumps(explainer.parameters(), default=str))


def says_nothing(test: str) -> str:
    """Why a test is left out."""
    return f"{test} is left out: it holds a model against a reference, and says nothing of one alone"


@contextmanager
def said_of(argument: str) -> Iterator[None]:
    """What functions beneath say of `models` is said of one of the two sides."""
    try:
        yield
    except XkdError as error:
        error.args = (renamed(str(error), {"models": argument, "model": argument}),)
        raise


class _Wanted(NamedTuple):
    """The explainer that is meant: its name, and those of its options that are said."""

    name: str
    options: dict[str, Any]

    @classmethod
    def of(cls, explainer: str | Explainer) -> _Wanted:
        """What the user says: of a text the options that are written, of an Explainer all."""
        made = as_explainer(explainer)
        written = explainer if isinstance(explainer, str) else None
        said = {part.partition("=")[0].strip() for part in name_and_rest(written)[1].split(",")} if written else None
        options = {key: value for key, value in plain_options(made).items() if said is None or key in said}
        return cls(made.name, options)

    def is_met(self, explainer: Mapping[str, Any]) -> bool:
        """Whether a record's explainer is the one that is meant."""
        said = {key: explainer.get(key) for key in self.options}
        return self.name == explainer["name"] and said == self.options


def _is_own(record: Mapping[str, Any], wanted: _Wanted | None) -> bool:
    """Whether a run is of a model on its own maps, or on those that are asked for."""
    explainer = record["explainer"]
    is_meant = wanted is not None and wanted.name == explainer["name"]
    return not explainer.get("of") and (is_meant or explainer["name"] not in (*FLOORS, ORACLE))


def _of_one_model(runs: Sequence[Run], path: str, argument: str, model: str | None) -> list[Run]:
    where = f"{argument}: {path!r}"
    known = dict.fromkeys((record["model"]["name"], record["model"]["digest"]) for _, record in runs)
    names = list(dict.fromkeys(name for name, _ in known))
    if model is not None and model not in names:
        raise XkdError(f"{where} holds no runs of {printable(model)}; it holds those of {printable(listed(names))}")
    chosen = [key for key in known if model in (None, key[0])]
    if len({name for name, _ in chosen}) > 1:
        example = printable(f"{path}{_MODEL}{names[-1]}")
        raise XkdError(f"{where} holds runs of {printable(listed(names))}; say whose, as {example}")
    if len(chosen) > 1:
        raise XkdError(f"{where} holds runs of several models called {printable(chosen[0][0])}; give a run directory")
    return [run for run in runs if (run[1]["model"]["name"], run[1]["model"]["digest"]) in chosen]


def _of_one_explainer(runs: Sequence[Run], where: str, wanted: _Wanted | None) -> list[Run]:
    """The runs on one kind of maps, and those on none."""
    on_maps = [run for run in runs if run[1]["explainer"]["name"] != NO_MAPS]
    names = list(dict.fromkeys(record["explainer"]["name"] for _, record in on_maps))
    meant = [run for run in on_maps if wanted is None or wanted.is_met(run[1]["explainer"])]
    if wanted is not None and on_maps and not meant:
        said = wanted.name if wanted.name not in names else f"{wanted.name} with {wanted.options}"
        raise XkdError(f"{where} holds no maps of {printable(said)}; it holds those of {printable(listed(names))}")
    if wanted is None and len(names) > 1:
        raise XkdError(f"{where} holds maps of {printable(listed(names))}; say whose, by `explainer`")
    return [run for run in runs if run in meant or run not in on_maps]


def _check_one_a_test(runs: Sequence[Run], where: str) -> None:
    seen: dict[str, Path] = {}
    for place, record in runs:
        if (first := seen.setdefault(record["test"], place)) != place:
            raise XkdError(
                f"{where} holds several runs of {printable(record['test'])}, of other rules, maps or images: "
                f"{first.name!r} and {place.name!r}; give a run directory"
            )
