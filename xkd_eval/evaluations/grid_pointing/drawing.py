"""Which photographs make a grid: those that every model knows, of distinct classes, each used once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from xkd_eval.datasets import ImageDataset
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.answers import ModelAnswers
from xkd_eval.evaluations.grid_pointing.protocol import GridPointingProtocol


def draw_grids(
    dataset: ImageDataset, answers: Mapping[str, ModelAnswers], rules: GridPointingProtocol
) -> list[tuple[int, ...]]:
    """The grids of a data set, which depend on the photographs' ids and not on their order, unless the rules say so.

    Args:
        dataset: of the photographs.
        answers: of every model that is compared, by name.
        rules: of the game.

    Returns:
        Positions of side * side photographs a grid, row by row.

    Raises:
        XkdError: not a single grid can be made.
    """
    passing = {model: _passes(found, rules) for model, found in answers.items()}
    positions = np.flatnonzero(np.all(list(passing.values()), axis=0))
    confidence = np.min([found.probability for found in answers.values()], axis=0)
    ordered = _ordered(positions, dataset.ids, confidence, rules)
    first = next(iter(answers.values()))
    kinds = [label if label is not None else int(first.predicted[place]) for place, label in enumerate(dataset.labels)]
    grids = fill([kinds[position] for position in ordered], rules.side**2)[: rules.grids]
    if not grids:
        raise _too_few(dataset, passing, len({kinds[position] for position in ordered}), rules)
    return [tuple(ordered[place] for place in grid) for grid in grids]


def fill(kinds: Sequence[Hashable], size: int) -> list[list[int]]:
    """Places of `kinds` in groups of `size` distinct kinds: each goes to the first group that lacks its kind.

    Returns:
        The groups that became full, in the order in which they were begun.
    """
    groups: list[list[int]] = []
    after: dict[Hashable, int] = {}  # a kind is in no later group than the one before that
    first = 0
    for place, kind in enumerate(kinds):
        number = max(after.get(kind, 0), first)
        while number < len(groups) and len(groups[number]) == size:
            number += 1
        if number == len(groups):
            groups.append([])
        groups[number].append(place)
        after[kind] = number + 1
        while first < len(groups) and len(groups[first]) == size:
            first += 1
    return [group for group in groups if len(group) == size]


def _passes(found: ModelAnswers, rules: GridPointingProtocol) -> np.ndarray:
    """(N,) whether one model knows a photograph."""
    passes = found.probability >= rules.confidence  # NaN is not: it could not be read
    if rules.correct_only:
        passes &= found.predicted == found.label
    if rules.correct_only or rules.target == "true":
        passes &= found.label >= 0
    return passes


def _ordered(
    positions: np.ndarray, ids: Sequence[str], confidence: np.ndarray, rules: GridPointingProtocol
) -> list[int]:
    listed = [int(position) for position in positions]
    if rules.order == "listed":
        return listed
    if rules.order == "confident":
        return sorted(listed, key=lambda position: (-confidence[position], ids[position]))
    return sorted(listed, key=lambda position: digest_of([rules.seed, ids[position]]))


def _too_few(
    dataset: ImageDataset, passing: Mapping[str, np.ndarray], n_kinds: int, rules: GridPointingProtocol
) -> XkdError:
    n_tiles, n_images = rules.side**2, len(dataset)
    hardest = min(passing, key=lambda model: int(passing[model].sum()))
    rightly = "rightly and " if rules.correct_only else ""
    together = int(np.all(list(passing.values()), axis=0).sum())
    missed = n_images - int(passing[hardest].sum())
    failing = f", and most fail for {hardest} ({missed})" if missed else ""
    lower = "lower `confidence`, or " if missed and rules.confidence > 0 else ""
    return XkdError(
        f"data: a grid takes {n_tiles} photographs of distinct classes that every model classifies {rightly}with a "
        f"probability of {rules.confidence:g} or more; {together} of {n_images} of {dataset.name} pass, of {n_kinds} "
        f"classes{failing}; {lower}give photographs of more classes"
    )
