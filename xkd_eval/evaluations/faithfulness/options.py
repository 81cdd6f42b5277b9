"""What a user chooses of the faithfulness test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.words import Answer, Form


@dataclass(frozen=True)
class FaithfulnessOptions:
    """What the faithfulness test takes beside the shared rules. Where an option is left out, the preset says it.

    Attributes:
        preset: which measure, by whose rules.
        form: of the map whose values are summed.
        answer: what is asked of the model: the probability of the class, or its logit.
        fill: what removed places become.
        groups: parts of the image: a square number of cells, or groups of values by relevance.
        removed: shares of the parts that a subset removes; several for sensitivity_n alone.
        samples: subsets, or fills of one part, an image.
    """

    preset: Literal[
        "mu-fidelity",
        "bhatt",
        "quantus",
        "estimate",
        "quantus-estimate",
        "sensitivity-n",
        "quantus-sensitivity-n",
        "monotonicity",
        "monotonicity-correlation",
        "quantus-monotonicity-correlation",
    ] = "mu-fidelity"
    form: Form | None = None
    answer: Answer | None = None
    fill: Literal["black", "mean", "blur", "lowest", "colour", "shade"] | None = None
    groups: int | None = None
    removed: tuple[float, ...] | None = None
    samples: int | None = None
