"""The rules of the robustness test."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.evaluations.noise import check_drawn
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.robustness.options import RobustnessOptions


@dataclass(frozen=True)
class RobustnessProtocol(Rules):
    """Max- and average-sensitivity.

    Attributes:
        radius: noise is uniform in [-radius, radius), in normalised space, and not cut to valid pixels.
        samples: noisy images of each photograph.
        relative: distances are divided by the norm of the clean map; the scale of most maps is arbitrary.
        noise_seed: of the noise.
    """

    radius: float = 0.2
    samples: int = 50
    relative: bool = True
    noise_seed: int = 0


PRESETS = {
    "paper": Preset({"radius": 0.2, "samples": 50, "relative": True}),
    "captum": Preset({"radius": 0.02, "samples": 10, "relative": True}, "a tenth of the radius, and 10 samples"),
    "quantus": Preset({"radius": 0.2, "samples": 200, "relative": True}, "200 samples, with which the maximum grows"),
    "latec": Preset({"radius": 0.2, "samples": 10, "relative": True}, "10 samples, of which the maximum is smaller"),
}
"""Radius and samples of `paper` are those of the authors' own code, which divides by the norm as the tools do."""


def robustness_protocol(rules: Rules, options: RobustnessOptions) -> RobustnessProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset, or a radius, a number of samples or a seed that is none.
    """
    found = rules_of(PRESETS, options)
    check_drawn(found["samples"], options.noise_seed, radius=found["radius"])
    return RobustnessProtocol(**rules.shared(), **found, noise_seed=options.noise_seed)
