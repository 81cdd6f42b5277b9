"""What a user chooses of ROAD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RoadOptions:
    """What ROAD takes beside the shared rules.

    Attributes:
        preset: whose rules; what is set beside it replaces its own.
        fractions: of the pixels that each step removes of the clean image.
        form: how a map becomes values at the image's size.
        removal: rank: exactly that many pixels, ties by the permutation; percentile: all at or above the percentile.
        noise: standard deviation of what is added to filled-in pixels.
        noise_space: unit: values in 0 to 1, before normalising; normalised: values as the network sees them.
        noise_seed: of the noise, which each image and step draws for itself.
    """

    preset: Literal["paper", "grad-cam", "arcc"] = "paper"
    fractions: tuple[float, ...] | None = None
    form: Literal["minmax", "relu", "lowres", "magnitude"] | None = None
    removal: Literal["rank", "percentile"] | None = None
    noise: float | None = None
    noise_space: Literal["unit", "normalised"] | None = None
    noise_seed: int = 0
