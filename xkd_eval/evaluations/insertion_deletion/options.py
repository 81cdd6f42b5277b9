"""What a user chooses of insertion and deletion, and whose rules there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.words import Answer, Fill

Direction = Literal["insertion", "deletion"]
DIRECTIONS: tuple[Direction, ...] = ("insertion", "deletion")
Schedule = Literal["even", "equal"]
Ends = Literal["both", "neither"]
Area = Literal["fractions", "equal_steps", "by_count"]

_SHARED = {"deletion_to": "mean", "answer": "probability"}

PRESETS = {
    "rise": Preset(
        {**_SHARED, "insertion_from": "rise_blur", "steps": 28.0, "schedule": "even", "ends": "both"}
        | {"area": "equal_steps"}
    ),
    "torch-cam": Preset(
        {**_SHARED, "insertion_from": "mean", "steps": 20.0, "schedule": "equal", "ends": "both"}
        | {"area": "fractions"},
        "insertion starts from the mean colour and not from a blurred image, and there are 20 steps and not 28",
    ),
    "xplique": Preset(
        {**_SHARED, "insertion_from": "mean", "steps": 10.0, "schedule": "even", "ends": "both"}
        | {"area": "equal_steps"},
        "insertion starts from the mean colour and not from a blurred image, and there are 10 steps and not 28",
    ),
    "latec": Preset(
        {**_SHARED, "insertion_from": "reflecting_blur", "steps": 1003.52, "schedule": "even", "ends": "neither"}
        | {"area": "by_count"},
        "50 of 224 x 224 pixels a step, another blur, and curves without their ends, whose area is (n - 1) / n of "
        "a mean",
    ),
}
"""Name -> rules. 1003.52 steps are 50 pixels each of the 50,176 of 224 x 224."""


@dataclass(frozen=True)
class InsertionDeletionOptions:
    """What insertion and deletion take beside the shared rules; what is none is the preset's.

    Attributes:
        preset: whose rules: RISE's paper, or another tool's.
        direction: which of the two to run.
        steps: into how many the pixels are divided; RISE's figures have 224.
        schedule: even: int(k HW / steps) pixels after step k; equal: ceil(HW / steps) a step, the last one fewer.
        ends: whether the curve holds the clean image and the one without a pixel of it, or neither.
        area: over the true shares of pixels; as if steps were equal; or with distances of 1 / n, n the points.
        deletion_to: what a deleted pixel becomes.
        insertion_from: the image into which pixels are inserted.
        answer: what is read of the network; logits where a tool scores them: torch-cam and xplique.
    """

    preset: Literal["rise", "torch-cam", "xplique", "latec"] = "rise"
    direction: Literal["both", "insertion", "deletion"] = "both"
    steps: float | None = None
    schedule: Schedule | None = None
    ends: Ends | None = None
    area: Area | None = None
    deletion_to: Fill | None = None
    insertion_from: Fill | None = None
    answer: Answer | None = None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that `direction` stands for."""
        return DIRECTIONS if self.direction == "both" else (self.direction,)
