"""The rules of ADCC."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.protocol import Rules

PRESETS = {"paper": Preset({"form": "minmax"})}


@dataclass(frozen=True)
class AdccProtocol(Rules):
    """Average drop, coherency and complexity.

    Attributes:
        form: of FORMS.
        tie_seed: of the pixel permutation that stands in for degenerate maps.
    """

    form: str = "minmax"
    tie_seed: int = 0
