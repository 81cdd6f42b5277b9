"""The rules of the localisation test, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.localisation.options import LocalisationOptions
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules

SIDE = 224
"""Of the maps that the papers' pixels are counted on."""

LEVELS = 255
"""Thresholds that tell 8-bit maps apart, above 0, 1, ..., 254: any share t of the maximum is the level int(t 255)."""

IOUS = (0.3, 0.5, 0.7)
"""From which a found box is a hit."""

FOUND = ("largest", "all")
"""The one box of the largest contour, or the best of all contours' boxes."""

_CHOE = {
    **{"largest": "contour", "peak": "permutation", "energy_box": "union"},
    **{"threshold": 0.2, "tolerance": 15.0, "top_pixels": 1000},
}

PRESETS = {
    "choe2020": Preset(_CHOE),
    "zhou2016": Preset(_CHOE | {"largest": "component"}),
    "ebp": Preset(_CHOE | {"peak": "first"}),
    "quantus": Preset(
        _CHOE | {"peak": "any", "tolerance": 1.0},
        "the pointing game has no tolerance, and of equal maxima one on the object suffices",
    ),
    "score-cam": Preset(
        _CHOE | {"energy_box": "first"},
        "the energy is that of the first box alone, without its last row and column",
    ),
}


@dataclass(frozen=True)
class LocalisationProtocol(Rules):
    """A map against the object's boxes, or its mask.

    Attributes:
        regions: "boxes", or "masks" and their tight boxes.
        threshold: share of the map's maximum, of the scores at a fixed one.
        tolerance: a hit is nearer to the object than so many pixels, of a map whose short side is 224.
        top_pixels: that are looked for on the object, of a map of 224 x 224.
        largest: the one box of a thresholded map is of the largest "contour", by OpenCV's area, or of the largest
            "component", by its pixels.
        peak: which of equal maxima points: the first of the tie "permutation", the "first" in reading order, or "any".
        energy_box: energy within the "union" of the boxes, or the "first" without its last row and column.
        tie_seed: of the permutation that breaks ties and stands in for degenerate maps.
    """

    regions: str = "boxes"
    threshold: float = 0.2
    tolerance: float = 15.0
    top_pixels: int = 1000
    largest: str = "contour"
    peak: str = "permutation"
    energy_box: str = "union"
    tie_seed: int = 0


def level_of(threshold: float) -> int:
    """The level that a share of the maximum is."""
    return int(threshold * LEVELS)


def localisation_protocol(rules: Rules, options: LocalisationOptions) -> LocalisationProtocol:
    """The shared rules with the test's own.

    With boxes the map is that of the labelled class, as the papers have it.

    Raises:
        XkdError: an option out of its range; a model's input that is a crop, where boxes are of the whole photograph.
    """
    own = rules_of(PRESETS, options)
    for name, choices in (("largest", ("contour", "component")), ("peak", ("permutation", "first", "any"))):
        check_choice(name, own[name], choices)
    check_choice("regions", options.regions, ("boxes", "masks"))
    check_choice("energy_box", own["energy_box"], ("union", "first"))
    if not 0 <= own["threshold"] < 1:
        raise XkdError(f"threshold: {own['threshold']} found; expected a share of the maximum, from 0 to below 1")
    if not 0 < own["tolerance"] <= SIDE:
        raise XkdError(
            f"tolerance: {own['tolerance']} found; expected pixels above 0, of which 1 is the pixel itself, and no "
            f"more than the {SIDE} of a map's side"
        )
    if not 1 <= own["top_pixels"] <= SIDE * SIDE:
        raise XkdError(f"top_pixels: {own['top_pixels']} found; expected 1 to {SIDE * SIDE}, the pixels of a map")
    if rules.preprocess.get("resize") == "crop":
        raise XkdError("resize crop: localisation scores the whole photograph; use `resize` squash")
    shared = rules if options.regions == "masks" else replace(rules, target="true")
    return LocalisationProtocol(
        **shared.shared(),
        **own | {"threshold": float(own["threshold"])},
        regions=options.regions,
    )
