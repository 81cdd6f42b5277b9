"""The rules of ROAD, and whose they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.fractions import increasing_fractions
from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.protocol import Rules

NINE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FOUR = (0.2, 0.4, 0.6, 0.8)
REMOVALS = ("rank", "percentile")
NOISE_SPACES = ("unit", "normalised")
_WHY = "so that each step removes a pixel and leaves one, "

PAPER: dict[str, Any] = {
    "fractions": NINE,
    "form": "minmax",
    "removal": "rank",
    "noise": 0.01,
    "noise_space": "unit",
}
GRAD_CAM = {**PAPER, "removal": "percentile", "noise_space": "normalised"}
TIES_GO = (
    "noise is added to normalised values, and a step removes every pixel that ties with its percentile, so that "
    "another share goes where values repeat"
)

PRESETS = {
    "paper": Preset(PAPER),
    "grad-cam": Preset(GRAD_CAM, TIES_GO),
    "arcc": Preset({**GRAD_CAM, "fractions": FOUR}, f"steps of 20, 40, 60 and 80 %; {TIES_GO}"),
}


@dataclass(frozen=True)
class RoadProtocol(Rules):
    """Remove and debias.

    Attributes:
        fractions: of the pixels that each step removes of the clean image.
        form: of FORMS.
        removal: "rank", exactly that many pixels, or "percentile", all whose value is at or above the percentile.
        noise: standard deviation of what is added to filled-in pixels.
        noise_space: where it is added: "unit", [0, 1] before normalising, or "normalised".
        noise_seed: of the noise.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    fractions: tuple[float, ...] = NINE
    form: str = "minmax"
    removal: str = "rank"
    noise: float = 0.01
    noise_space: str = "unit"
    noise_seed: int = 0
    tie_seed: int = 0


def checked_rules(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules as a RoadProtocol holds them.

    Raises:
        XkdError: fractions that do not increase within (0, 1), a negative noise, an unknown form, removal or space.
    """
    check_choice("form", rules["form"], tuple(FORMS))
    check_choice("removal", rules["removal"], REMOVALS)
    check_choice("noise_space", rules["noise_space"], NOISE_SPACES)
    noise = rules["noise"]
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise XkdError(f"noise: {noise!r} found; expected a standard deviation of 0 or more, such as 0.01")
    return {**rules, "noise": float(noise), "fractions": increasing_fractions(rules["fractions"], _WHY)}
