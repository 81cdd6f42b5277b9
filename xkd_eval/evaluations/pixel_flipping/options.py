"""What a user chooses of pixel flipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.words import Count, Form


@dataclass(frozen=True)
class PixelFlippingOptions:
    """What pixel flipping takes beside the shared rules; what is not given is the preset's.

    Attributes:
        preset: whose rules: the paper's, or another tool's.
        feature: what is flipped one by one: pixels, or the values of their channels.
        steps: in which all features are flipped, of equal size.
        infill: what a flipped feature becomes.
        start: whether the curve begins at the clean image.
        area: how the area under the curve is taken.
        form: of the map.
    """

    preset: Literal["paper", "quantus", "latec"] = "paper"
    feature: Literal["pixels", "values"] | None = None
    steps: Count | None = None
    infill: Literal["black", "mean", "blur", "lowest", "opposite"] | None = None
    start: bool | None = None
    area: Literal["fractions", "equal_steps", "by_count", "unit_steps"] | None = None
    form: Form | None = None
