"""What a user chooses of the perturbation test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.words import Fill

Direction = Literal["positive", "negative"]
DIRECTIONS: tuple[Direction, ...] = ("positive", "negative")
DEFAULT_FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class PerturbationOptions:
    """What the perturbation test takes beside the shared rules.

    Attributes:
        fractions: of the pixels, removed one after the other.
        fill: what a removed pixel becomes.
        direction: positive: most relevant pixels first; negative: least.
    """

    fractions: tuple[float, ...] = DEFAULT_FRACTIONS
    fill: Fill = "black"
    direction: Literal["both", "positive", "negative"] = "both"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that `direction` stands for."""
        return DIRECTIONS if self.direction == "both" else (self.direction,)
