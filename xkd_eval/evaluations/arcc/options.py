"""What a user chooses of ARCC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.road.options import RoadOptions


@dataclass(frozen=True)
class ArccOptions(RoadOptions):
    """What ARCC takes beside the shared rules: what its ROAD takes.

    Attributes:
        preset: whose rules; what is set beside it replaces its own.
    """

    preset: Literal["paper", "grad-cam"] = "paper"
