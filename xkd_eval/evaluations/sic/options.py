"""What a user chooses of performance information curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from xkd_eval.arguments import Within
from xkd_eval.evaluations.words import Form

DEFAULT_SHARES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)


@dataclass(frozen=True)
class SicOptions:
    """What performance information curves take beside the shared rules; what is not given is the preset's.

    Attributes:
        preset: whose rules.
        shares: of the pixels, revealed one after the other.
        start: share of the pixels, drawn at random, that the first image is interpolated from.
        least: probability of the clean image below which it has no SIC.
        monotone: whether the curve keeps its highest value.
        form: of the map.
        seed: of the pixels that are drawn.
    """

    preset: Literal["pair"] = "pair"
    shares: tuple[Annotated[float, Within(0, 1)], ...] | None = None
    start: Annotated[float, Within(0, 1)] | None = None
    least: Annotated[float, Within(0, 1)] | None = None
    monotone: bool | None = None
    form: Form | None = None
    seed: Annotated[int, Within(0)] = 0
