"""What a user chooses of the infidelity test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class InfidelityOptions:
    """What the infidelity test takes beside the shared rules; what is not given is as the preset says.

    Attributes:
        preset: captum, the paper's rule with the map scaled as fits best; or latec, with the map as it is.
        sigma: of the Gaussian noise, in units of the normalised image.
        samples: noisy images of each photograph.
        normalised: the map is scaled as fits the answers best.
        form: of the map.
        noise_seed: of the noise.
    """

    preset: Literal["captum", "latec"] = "captum"
    sigma: float | None = None
    samples: int | None = None
    normalised: bool | None = None
    form: Literal["minmax", "relu", "lowres", "magnitude"] | None = None
    noise_seed: int = 0
