"""What a user chooses of the localisation test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LocalisationOptions:
    """What the localisation test takes beside the shared rules; what is none is the preset's.

    Attributes:
        preset: whose rules: choe2020; zhou2016: boxes of the largest component; ebp, quantus, score-cam: as these
            point.
        regions: what is to be found: boxes, or masks and their tight boxes.
        threshold: share of the map's maximum for the scores at a fixed one; presets have 0.2.
        tolerance: of the pointing game, in pixels of a map of 224; 1 is the pixel itself.
        top_pixels: of a map of 224 x 224, for the share of the most relevant pixels on the object; presets have 1000.
        largest: by what a map's one box is chosen: contour (OpenCV's area) or component (its pixels).
        peak: of equal maxima: permutation: the first of the tie permutation; first: in reading order; any: one is
            enough.
        energy_box: union of all boxes; first: the first box without its last row and column.
    """

    preset: Literal["choe2020", "zhou2016", "ebp", "quantus", "score-cam"] = "choe2020"
    regions: Literal["boxes", "masks"] = "boxes"
    threshold: float | None = None
    tolerance: float | None = None
    top_pixels: int | None = None
    largest: Literal["contour", "component"] | None = None
    peak: Literal["permutation", "first", "any"] | None = None
    energy_box: Literal["union", "first"] | None = None
