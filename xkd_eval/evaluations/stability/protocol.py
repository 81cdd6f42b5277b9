"""The rules of the stability test, and their arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.noise import check_drawn
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.stability.options import StabilityOptions

_LEAST = 1e-6
"""Stands for what is exactly 0 under a fraction."""


@dataclass(frozen=True)
class StabilityProtocol(Rules):
    """Relative input stability.

    Attributes:
        low, high: noise is uniform in [low, high), in normalised space, and not cut to valid pixels.
        samples: noisy images of each photograph.
        changed_prediction: a noisy image of another prediction is "left_out", leaves its photograph "undefined", or is
            "counted".
        noise_seed: of the noise.
    """

    low: float = -0.2
    high: float = 0.2
    samples: int = 10
    changed_prediction: str = "left_out"
    noise_seed: int = 0


PRESETS = {
    "paper": Preset({"low": -0.2, "high": 0.2, "samples": 10, "changed_prediction": "left_out"}),
    "quantus": Preset(
        {"low": 0.02, "high": 0.2, "samples": 200, "changed_prediction": "undefined"},
        "the noise only brightens, and a single changed prediction leaves a photograph without a figure",
    ),
}


def stability_protocol(rules: Rules, options: StabilityOptions) -> StabilityProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or choice; bounds, a number of samples or a seed that are none.
    """
    found = rules_of(PRESETS, options)
    check_choice("changed_prediction", found["changed_prediction"], ("left_out", "undefined", "counted"))
    check_drawn(found["samples"], options.noise_seed)
    low, high = found["low"], found["high"]
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise XkdError(f"low: {low} found, and {high} for `high`; expected two numbers, the first below the second")
    return StabilityProtocol(**rules.shared(), **found, noise_seed=options.noise_seed)


def relative_change(values: Tensor, changed: Tensor) -> Tensor:
    """The norm of the change of each value as a share of the value. (B, ...) and (B, ...) -> (B,) float64."""
    before = values.double()
    share = (before - changed.double()) / before.where(before != 0, _LEAST)
    return share.flatten(1).norm(dim=1)


def relative_stability(maps: Tensor, noisy_maps: Tensor, images: Tensor, noisy_images: Tensor) -> Tensor:
    """Relative change of the map by the relative change of the image (Agarwal et al., 2022).

    Args:
        maps, noisy_maps: (B, H, W).
        images, noisy_images: (B, 3, H, W), normalised.

    Returns:
        (B,) float64, >= 0.
    """
    of_image = relative_change(images, noisy_images)
    return relative_change(maps, noisy_maps) / of_image.where(of_image > 0, _LEAST)
