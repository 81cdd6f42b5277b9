"""check(): is a candidate shown to be no worse than a baseline?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from xkd_eval.arguments import public
from xkd_eval.comparison.groups import SeedGroup, check_comparable, common_ids, rightly_classified
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Explainer
from xkd_eval.gate.evaluated import Asked, evaluated_alike, evaluated_together
from xkd_eval.gate.margins import MARGIN, AskedScore, Margins, asked_scores
from xkd_eval.gate.recorded import directory_of, read_recorded, said_of
from xkd_eval.gate.result import Gate
from xkd_eval.gate.verdicts import ScoreVerdict, verdict_of, without_images
from xkd_eval.study.choose import TestLike
from xkd_eval.study.inputs import Data
from xkd_eval.study.models import Model, NamedModel, name_models, split_name
from xkd_eval.study.options import RunOptions
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.stream import Progress

# What a gate of two run directories reads.
_OF_RUNS = ("seed", "device")


@public(models="baseline or candidate", model="baseline or candidate", explainers="explainer")
def check(
    baseline: Model,
    candidate: Model,
    data: Data = "embedded",
    *,
    margins: Margins = MARGIN,
    tests: TestLike | Sequence[TestLike] | None = None,
    explainer: str | Explainer | None = None,
    masks: Data | None = None,
    runs: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Gate:
    """Is a candidate shown to be no worse than a baseline, by more than a margin, in each of some scores?

    "pass" where for every score the lower end of the paired 95 % interval of the difference lies above minus its
    margin; "fail" where for one the upper end lies below, at the level divided among all scores; else "undecided".

    Args:
        baseline, candidate: what `load_classifier` takes, or a finished run directory, or a folder of those of one
            model ("runs/compare,model=kd" of several's); "NAME=MODEL" gives a name. A model beside a run directory is
            evaluated by the rules that the directory records.
        data: what `open_dataset` takes, or an ImageDataset; beside a run directory the images that it was made of.
        margins: by how much a score may be worse, in points for shares: one number for the default scores, or name of
            a score ("perturbation.clean_accuracy") -> its own; "default" stands for the default ones.
        tests: names that `xkd-eval tests` lists; by default those of `compare`, or of the run directory.
        explainer: makes the maps, by default the CAM; of run directories with several, the one that is meant.
        masks: images with masks, for the tests that need them; by default `data` where it has masks.
        runs: keeps the run of every cell, so that the same call continues.
        progress: called with what is under way, the rows done and the rows in all.
        options: those of RunOptions, and of the tests.

    Raises:
        XkdError: bad input; runs of other rules or images than the other side's.

    Example:
        >>> import xkd_eval
        >>> gate = xkd_eval.check("embedded/teacher", "embedded/plain", limit=12, margins={"clean_accuracy": 90})
        >>> gate.verdict, list(gate.scores["score"])
        ('pass', ['clean_accuracy'])
    """
    asked = Asked(data, masks, tests, explainer, margins, runs, progress, options)
    seed = RunOptions(seed=options.get("seed", 0)).seed
    (first, second), left_out = _sides(baseline, candidate, asked)
    pairs = {test: (first.results[test], second.results[test]) for test in first.results if test in second.results}
    for side, other in ((first, second), (second, first)):
        alone = [test for test in side.results if test not in pairs]
        left_out += [f"{test} is left out: there is no run of it of {other.name}" for test in alone]
    if not pairs:
        raise XkdError(f"candidate: the runs of {first.name} and {second.name} have no test in common")
    with said_of("candidate"):
        for pair in pairs.values():
            check_comparable(pair)
        ids = {test: common_ids(pair) for test, pair in pairs.items()}
    scores = asked_scores({test: ours.test for test, (ours, _) in pairs.items()}, margins)
    verdicts = _verdicts(scores, pairs, ids, seed)
    n_images = {test: len(names) for test, names in ids.items()}
    return Gate(first.name, second.name, tuple(verdicts), n_images, tuple(dict.fromkeys(left_out)))


class _Side(NamedTuple):
    """What is known of one side: its name, and test -> result."""

    name: str
    results: dict[str, EvaluationResult]


def _sides(baseline: Model, candidate: Model, asked: Asked) -> tuple[list[_Side], list[str]]:
    """Both sides, and a sentence for each test that is left out."""
    arguments, named = ("baseline", "candidate"), _named([baseline, candidate])
    places = [directory_of(entry.model) for entry in named]
    if not any(places):
        results, left_out = evaluated_together(named, asked)
        return [_Side(entry.name, found) for entry, found in zip(named, results, strict=True)], left_out
    if all(places):
        _check_unread(asked)
    sides: list[_Side | None] = [None, None]
    left_out = []
    for number, place in enumerate(places):
        if place is not None:
            name, (path, model) = named[number].name, place
            recorded = read_recorded(path, name, arguments[number], model=model, explainer=asked.explainer)
            sides[number] = _Side(name, recorded.results)
            left_out += recorded.left_out
    for number, other in enumerate(sides[::-1]):
        if sides[number] is None and other is not None:
            found = evaluated_alike(named[number], other.results, asked, arguments[1 - number])
            sides[number] = _Side(named[number].name, found)
    return [side for side in sides if side is not None], left_out


def _named(given: Sequence[Model]) -> list[NamedModel]:
    """Both sides by name; of a folder of several models' runs the name of the one that is meant."""
    named = name_models(given)
    places = [directory_of(model) if split_name(model)[0] is None else None for model in given]
    meant = [
        entry.name if place is None else place[1] or entry.name for entry, place in zip(named, places, strict=True)
    ]
    if len(set(meant)) < len(meant):
        return named
    return [replace(entry, name=name) for entry, name in zip(named, meant, strict=True)]


def _check_unread(asked: Asked) -> None:
    """Raise XkdError for what two run directories leave nothing to do for."""
    computed = {"data": asked.data != "embedded", "masks": asked.masks, "tests": asked.tests}
    unread = [name for name, value in computed.items() if value]
    unread += [name for name in asked.options if name not in _OF_RUNS]
    if unread:
        raise XkdError(f"{unread[0]}: nothing is computed again of run directories; leave it out")


def _verdicts(
    scores: Sequence[AskedScore],
    pairs: Mapping[str, tuple[EvaluationResult, EvaluationResult]],
    ids: Mapping[str, Sequence[str]],
    seed: int,
) -> Iterator[ScoreVerdict]:
    groups: dict[tuple[str, bool], tuple[SeedGroup, SeedGroup] | None] = {}
    for score in scores:
        key = (score.test, score.where_right)
        if key not in groups:
            groups[key] = _groups(pairs[score.test], ids[score.test], seed, where_right=score.where_right)
        found = groups[key]
        if found is None:
            yield without_images(score)
        else:
            same = _is_same(*pairs[score.test])
            yield verdict_of(score, *found, len(scores), len(ids[score.test]), same=same)


def _groups(
    pair: tuple[EvaluationResult, EvaluationResult], ids: Sequence[str], seed: int, *, where_right: bool
) -> tuple[SeedGroup, SeedGroup] | None:
    """Both sides on the same images, drawn alike; None where there is no such image."""
    shared = [result.restricted(ids) for result in pair]
    if where_right:
        right = rightly_classified(shared)
        if not right:
            return None
        shared = [result.restricted(right) for result in shared]
    baseline, candidate = (SeedGroup.of(result.model, [result], seed) for result in shared)
    return baseline, candidate


def _is_same(first: EvaluationResult, second: EvaluationResult) -> bool:
    """Whether the two are one model, given the same input, on the same maps."""
    ours, theirs = (result.description for result in (first, second))
    return ours["explainer"] == theirs["explainer"] and all(
        ours["model"][part] == theirs["model"][part] for part in ("digest", "preprocess")
    )
