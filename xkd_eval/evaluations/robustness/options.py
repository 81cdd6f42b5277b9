"""What a user chooses of the robustness test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RobustnessOptions:
    """What the robustness test takes beside the shared rules; what is not given is as the preset says.

    Attributes:
        preset: paper, or the rules of captum, quantus or latec.
        radius: of the uniform noise, in units of the normalised image.
        samples: noisy images of each photograph, of which each is explained.
        relative: distances are divided by the norm of the clean map.
        noise_seed: of the noise.
    """

    preset: Literal["paper", "captum", "quantus", "latec"] = "paper"
    radius: float | None = None
    samples: int | None = None
    relative: bool | None = None
    noise_seed: int = 0
