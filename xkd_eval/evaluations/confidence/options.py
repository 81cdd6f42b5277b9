"""What a user chooses of the confidence test, and whose rules there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.words import Answer, Form

Drop = Literal["relative", "absolute"]

PRESETS = {
    "paper": Preset({"form": "minmax", "epsilon": 0.0, "drop": "relative", "answer": "probability"}),
    "torch-cam": Preset(
        {"form": "lowres", "epsilon": 1e-7, "drop": "relative", "answer": "probability"},
        "maps are min-maxed before they are up-sampled, so that their peak stays below 1, and 1e-7 is added to what is "
        "divided by",
    ),
    "xplique": Preset(
        {"form": "magnitude", "epsilon": 1e-8, "drop": "relative", "answer": "probability"},
        "maps are min-maxed in magnitude, so that what speaks against the class is kept as what speaks for it, and "
        "1e-8 is added to what is divided by",
    ),
    "grad-cam": Preset(
        {"form": "relu", "epsilon": 0.0, "drop": "absolute", "answer": "probability"},
        "the drop is not divided by the clean image's probability, and negative values of a map are 0 first",
    ),
}
"""Name -> rules."""


@dataclass(frozen=True)
class ConfidenceOptions:
    """What the confidence test takes beside the shared rules; what is none is the preset's.

    Attributes:
        preset: whose rules: Grad-CAM++'s and Opti-CAM's papers, or another tool's.
        form: of the map that the image is multiplied by.
        answer: what is read of the network; logits where a tool scores them, which the papers do not.
    """

    preset: Literal["paper", "torch-cam", "xplique", "grad-cam"] = "paper"
    form: Form | None = None
    answer: Answer | None = None
