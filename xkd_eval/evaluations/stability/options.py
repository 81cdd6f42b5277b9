"""What a user chooses of the stability test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StabilityOptions:
    """What the stability test takes beside the shared rules; what is not given is as the preset says.

    Attributes:
        preset: paper, or the rules of quantus.
        low: least noise, in units of the normalised image.
        high: greatest noise.
        samples: noisy images of each photograph, of which each is explained.
        changed_prediction: a noisy image of another prediction is left_out or counted, or leaves its photograph
            undefined.
        noise_seed: of the noise.
    """

    preset: Literal["paper", "quantus"] = "paper"
    low: float | None = None
    high: float | None = None
    samples: int | None = None
    changed_prediction: Literal["left_out", "undefined", "counted"] | None = None
    noise_seed: int = 0
