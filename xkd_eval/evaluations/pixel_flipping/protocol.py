"""The rules of pixel flipping, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.areas import AREAS
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.infills import SETTLED
from xkd_eval.evaluations.pixel_flipping.options import PixelFlippingOptions
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules

_OF_VALUES = {"feature": "values", "infill": "lowest", "start": False, "area": "unit_steps", "form": "minmax"}

PRESETS = {
    "paper": Preset(
        {"feature": "pixels", "steps": 32, "infill": "mean", "start": True, "area": "fractions", "form": "minmax"}
    ),
    "quantus": Preset(
        {**_OF_VALUES, "steps": 48},
        "the channels of a pixel are flipped one by one, to the image's smallest normalised value; the curve lacks the "
        "clean image and its area grows with the steps",
    ),
    "latec": Preset(
        {**_OF_VALUES, "steps": 672},
        "as quantus, in 672 steps, of 224 values each where the image has 224x224 pixels",
    ),
}
FEATURES = ("pixels", "values")


@dataclass(frozen=True)
class PixelFlippingProtocol(Rules):
    """Pixel flipping.

    Attributes:
        feature: "pixels", or "values": those of a pixel's channels one after the other.
        steps: in which all features are flipped; step k ends at int(k n / steps) of n.
        infill: what a flipped feature becomes, of infills.SETTLED.
        start: whether the curve begins at the clean image.
        area: of areas.AREAS.
        form: of the map, of forms.FORMS.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    feature: str = "pixels"
    steps: int = 32
    infill: str = "mean"
    start: bool = True
    area: str = "fractions"
    form: str = "minmax"
    tie_seed: int = 0

    @property
    def abscissae(self) -> tuple[float, ...]:
        """The shares of the features that are flipped at the curve's points."""
        return tuple(step / self.steps for step in range(0 if self.start else 1, self.steps + 1))


def pixel_flipping_protocol(rules: Rules, options: PixelFlippingOptions) -> PixelFlippingProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or rule, or a curve of a single point.
    """
    own = rules_of(PRESETS, options)
    for name, known in (("feature", FEATURES), ("infill", SETTLED), ("area", tuple(AREAS)), ("form", tuple(FORMS))):
        check_choice(name, own[name], known)
    protocol = PixelFlippingProtocol(**rules.shared(), **own)
    if len(protocol.abscissae) < 2:
        raise XkdError("steps: 1 found, and a curve without the clean image; expected two or more, or `start`")
    return protocol


def flipped_features(n_features: int, steps: int) -> list[int]:
    """How many features are flipped after each step.

    Raises:
        XkdError: there are more steps than features.
    """
    if steps > n_features:
        raise XkdError(f"steps: {steps} found for images of {n_features} features; expected at most one a feature")
    return [step * n_features // steps for step in range(1, steps + 1)]
