"""What a user chooses of IROF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from xkd_eval.arguments import Within
from xkd_eval.evaluations.words import Form


@dataclass(frozen=True)
class IrofOptions:
    """What IROF takes beside the shared rules.

    Attributes:
        segments: about how many superpixels an image is cut into.
        compactness: of the superpixels; the greater, the squarer.
        infill: what a removed segment becomes.
        form: of the map.
    """

    segments: Annotated[int, Within(2)] = 100
    compactness: Annotated[float, Within(0.001)] = 10.0
    infill: Literal["black", "mean", "blur", "lowest", "opposite"] = "mean"
    form: Form = "minmax"
