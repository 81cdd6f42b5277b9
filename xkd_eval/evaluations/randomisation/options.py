"""What a user chooses of the randomisation test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RandomisationOptions:
    """What the randomisation test takes beside the shared rules; what is not given is as the preset says.

    Attributes:
        preset: paper, or the rules of quantus, xplique or efficient (efficient MPRT).
        mode: cascading: layers are redrawn one after the other and stay so; independent: each alone.
        order: of the layers: top_down begins at the head, bottom_up at the image.
        layers: all that can draw their weights anew, or the public: those with `reset_parameters`, as Quantus has it.
        depths: shares of the layers, after which the map is made again; 0 is every layer.
        measures: of similarity: spearman, absolute (spearman of magnitudes), ssim, hog.
        random_logit: how the map of another class is compared: ssim, flattened (Quantus), or off.
        weight_seed: of the redrawn weights and of the other class.
    """

    preset: Literal["paper", "quantus", "xplique", "efficient"] = "paper"
    mode: Literal["cascading", "independent"] | None = None
    order: Literal["top_down", "bottom_up"] | None = None
    layers: Literal["all", "public"] | None = None
    depths: tuple[float, ...] | None = None
    measures: tuple[str, ...] | None = None
    random_logit: Literal["ssim", "flattened", "off"] | None = None
    weight_seed: int | None = None
