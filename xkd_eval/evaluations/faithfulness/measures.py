"""The measures: which places of an image are removed, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import torch
from torch import Tensor

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.faithfulness.correlations import CORRELATIONS
from xkd_eval.evaluations.faithfulness.fills import DRAWN
from xkd_eval.evaluations.faithfulness.protocol import FaithfulnessProtocol
from xkd_eval.evaluations.faithfulness.units import Units, subset_size, subsets
from xkd_eval.evaluations.infills import settled_infill
from xkd_eval.evaluations.removal import answer_values
from xkd_eval.evaluations.scores import Columns

Variant = tuple[int, np.ndarray]
"""The place of an image in the batch, and (U,) booleans: which of its units are removed."""


def _answers(
    batch: Batch, units: Sequence[Units], variants: Iterator[Variant], rules: FaithfulnessProtocol
) -> np.ndarray:
    """What the model says of the target class of each variant, made about a chunk at a time: (N,) float64."""
    fills = None if rules.fill in DRAWN else settled_infill(batch, rules.fill)
    generators = [image_generator(name, rules.seed, "fill") for name in batch.ids] if fills is None else []

    def made(variant: Variant) -> Tensor:
        place, chosen = variant
        fill = DRAWN[rules.fill](batch, generators[place]) if fills is None else fills[place]
        return torch.where(units[place].mask(chosen).to(fill.device), fill, batch.images[place])

    found = []
    while chunk := list(islice(variants, batch.network.chunk)):
        logits = batch.network.classify(torch.stack([made(variant) for variant in chunk]))
        classes = batch.target[[place for place, _ in chunk]]
        found.append(answer_values(logits, classes, rules.answer, rules.probability))
    return torch.cat(found).double().cpu().numpy()


def _clean(batch: Batch, rules: FaithfulnessProtocol) -> np.ndarray:
    return answer_values(batch.logits, batch.target, rules.answer, rules.probability).cpu().numpy()


def _correlations(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> np.ndarray:
    """(B, n): of random subsets' relevance with what the answer loses without them, for each share of the units."""
    sums: list[float] = []
    if rules.draw == "fixed":
        _check_sizes(len(units[0].relevance), rules.removed)

    def variants() -> Iterator[Variant]:
        for place, parts in enumerate(units):
            generator = image_generator(batch.ids[place], rules.seed, "subsets")
            for share in rules.removed:
                for chosen in subsets(generator, len(parts.relevance), share, rules.samples, rules.draw):
                    sums.append(parts.relevance[chosen].sum())
                    yield place, chosen

    shape = (len(units), len(rules.removed), rules.samples)
    answers = _answers(batch, units, variants(), rules).reshape(shape)
    drops = _clean(batch, rules)[:, None, None] - answers
    relevance, correlate = np.array(sums).reshape(shape), CORRELATIONS[rules.statistic]
    places = [(place, number) for place in range(shape[0]) for number in range(shape[1])]
    return np.array([correlate(relevance[place], drops[place]) for place in places]).reshape(shape[:2])


def _check_sizes(n_units: int, shares: Sequence[float]) -> None:
    for before, after in pairwise(shares):
        if (size := subset_size(n_units, after)) == subset_size(n_units, before):
            raise XkdError(
                f"removed: {before} and {after} of {n_units} parts of the image are both {size}; give more `groups`, "
                "or other shares"
            )


def correlation(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> Columns:
    """Bhatt et al. (IJCAI 2020), and MuFidelity (Fel et al., NeurIPS 2021)."""
    return {"faithfulness_correlation": _correlations(batch, units, rules)[:, 0]}


def sensitivity_n(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> Columns:
    """Ancona et al. (ICLR 2018): the correlation for subsets of several sizes; and its mean over the sizes."""
    curve = _correlations(batch, units, rules)
    return {"sensitivity_n": curve.mean(1), "sensitivity_n_curve": curve}


def estimate(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> Columns:
    """Alvarez-Melis and Jaakkola (NeurIPS 2018): each group is removed alone."""
    sums = [parts.group_sums() for parts in units]
    variants = (
        (place, parts.groups == group) for place, parts in enumerate(units) for group in range(len(sums[place]))
    )
    answers = _answers(batch, units, variants, rules).reshape(len(units), -1)
    drops = _clean(batch, rules)[:, None] - answers
    correlate = CORRELATIONS[rules.statistic]
    return {"faithfulness_estimate": np.array([correlate(mine, lost) for mine, lost in zip(sums, drops, strict=True)])}


def monotonicity(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> Columns:
    """Arya et al. (2019): groups are added, the least relevant first, to an image of which all is removed.

    The last step is the photograph itself, whose answer is known.
    """
    last = int(units[0].groups.max())
    variants = ((place, parts.groups <= group) for place, parts in enumerate(units) for group in range(last, -1, -1))
    answers = _answers(batch, units, variants, rules).reshape(len(units), -1)
    steps = np.diff(np.concatenate([answers, _clean(batch, rules)[:, None]], axis=1), axis=1) >= 0
    return {"monotonicity": steps.all(1), "monotonicity_steps": steps.mean(1)}


def monotonicity_correlation(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> Columns:
    """Nguyen and Martinez (2020): each group is filled at random, alone, and the squared change is averaged.

    They divide it by the squared probability of the photograph, which moves no rank of one image.
    """
    sums = [parts.group_sums() for parts in units]
    variants = (
        (place, parts.groups == group)
        for place, parts in enumerate(units)
        for group in range(len(sums[place]) - 1, -1, -1)
        for _ in range(rules.samples)
    )
    answers = _answers(batch, units, variants, rules).reshape(len(units), -1, rules.samples)
    changes = ((answers - _clean(batch, rules)[:, None, None]) ** 2).mean(2)
    correlate = CORRELATIONS[rules.statistic]
    pairs = zip(sums, changes, strict=True)
    return {"monotonicity_correlation": np.array([correlate(mine[::-1], change) for mine, change in pairs])}


def cumulative(batch: Batch, units: Sequence[Units], rules: FaithfulnessProtocol) -> Columns:
    """What Quantus calls sensitivity-n: for each step what it removes, and all that the answer has lost by then."""
    steps = len(rules.removed)
    variants = ((place, parts.groups <= group) for place, parts in enumerate(units) for group in range(steps))
    answers = _answers(batch, units, variants, rules).reshape(len(units), steps)
    return {
        "step_relevance": np.stack([parts.group_sums()[:steps] for parts in units]),
        "step_drop": _clean(batch, rules)[:, None] - answers,
    }


MEASURES: dict[str, Callable[[Batch, Sequence[Units], FaithfulnessProtocol], Columns]] = {
    "correlation": correlation,
    "estimate": estimate,
    "sensitivity_n": sensitivity_n,
    "cumulative": cumulative,
    "monotonicity": monotonicity,
    "monotonicity_correlation": monotonicity_correlation,
}
