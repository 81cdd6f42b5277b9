"""The rules of ARCC: those of its ROAD, and the map's form."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.road.protocol import FOUR, GRAD_CAM, TIES_GO, RoadProtocol

_PAPER = {**GRAD_CAM, "fractions": FOUR, "removal": "rank"}

PRESETS = {
    "paper": Preset(_PAPER),
    "grad-cam": Preset(
        {**_PAPER, "removal": "percentile", "form": "relu"}, f"negative relevance is cut off; {TIES_GO}"
    ),
}


@dataclass(frozen=True)
class ArccProtocol(RoadProtocol):
    """Coherency, complexity and ROAD; attributes as of RoadProtocol. The form is that of both maps."""

    fractions: tuple[float, ...] = FOUR
    noise_space: str = "normalised"
