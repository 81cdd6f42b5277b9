"""What a user chooses of the complexity test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.words import Form


@dataclass(frozen=True)
class ComplexityOptions:
    """What the complexity test takes beside the shared rules.

    Attributes:
        preset: whose rules: the papers', or another tool's, which adds effective complexity (quantus, latec).
        form: of the maps that are scored; by default the preset's, minmax.
    """

    preset: Literal["paper", "quantus", "latec", "xplique"] = "paper"
    form: Form | None = None
