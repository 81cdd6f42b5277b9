"""The rules of insertion and deletion, and how many pixels are gone after each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import get_args

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.areas import AREAS
from xkd_eval.evaluations.insertion_deletion.options import (
    DIRECTIONS,
    PRESETS,
    Area,
    Ends,
    InsertionDeletionOptions,
    Schedule,
)
from xkd_eval.evaluations.presets import rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import ANSWERS, FILLS
from xkd_eval.evaluations.words import MOST, Answer, Fill

_SCORE_LOGITS = ("torch-cam", "xplique")


@dataclass(frozen=True)
class InsertionDeletionProtocol(Rules):
    """Insertion and deletion.

    Attributes:
        steps: into how many the pixels are divided.
        schedule: even: int(k HW / steps) pixels after step k; equal: ceil(HW / steps) a step, the last one fewer.
        ends: whether the curve holds the clean image and the one without a pixel of it.
        area: of AREAS.
        deletion_to: of FILLS, what a deleted pixel becomes.
        insertion_from: of FILLS, the image into which pixels are inserted.
        answer: of ANSWERS.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    steps: float = 28.0
    schedule: Schedule = "even"
    ends: Ends = "both"
    area: Area = "equal_steps"
    deletion_to: Fill = "mean"
    insertion_from: Fill = "rise_blur"
    answer: Answer = "probability"
    tie_seed: int = 0


def insertion_deletion_protocol(rules: Rules, options: InsertionDeletionOptions) -> InsertionDeletionProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or value, too few steps, or logits where the preset is of probabilities.
    """
    protocol = InsertionDeletionProtocol(**rules.shared(), **rules_of(PRESETS, options))
    check_choice("direction", options.direction, ("both", *DIRECTIONS))
    check_choice("schedule", protocol.schedule, get_args(Schedule))
    check_choice("ends", protocol.ends, get_args(Ends))
    check_choice("area", protocol.area, [name for name in AREAS if name in get_args(Area)])
    check_choice("deletion_to", protocol.deletion_to, tuple(FILLS))
    check_choice("insertion_from", protocol.insertion_from, tuple(FILLS))
    check_choice("answer", protocol.answer, ANSWERS)
    if protocol.answer == "logit" and options.preset not in _SCORE_LOGITS:
        raise XkdError(
            f"answer: logit with preset {options.preset}, whose curves are of probabilities; leave it out, or take "
            f"preset={' or '.join(_SCORE_LOGITS)}, whose tools score logits unless they are told otherwise"
        )
    least = 1 if protocol.ends == "both" else 3
    if not least <= protocol.steps <= MOST:
        raise XkdError(
            f"steps: {protocol.steps:g} found; expected {least} to {MOST}, of which a curve can be made, and no more "
            "than pixels"
        )
    return protocol


def points(protocol: InsertionDeletionProtocol) -> list[int]:
    """The steps after which the network is asked: of a curve with its ends 0, 1, ..., all of them."""
    last = math.ceil(protocol.steps)
    return list(range(last + 1)) if protocol.ends == "both" else list(range(1, last))


def shares(protocol: InsertionDeletionProtocol) -> tuple[float, ...]:
    """The share of pixels at each point, but for the rounding to whole pixels."""
    return tuple(min(step / protocol.steps, 1.0) for step in points(protocol))


def pixel_counts(protocol: InsertionDeletionProtocol, size: tuple[int, int]) -> list[int]:
    """How many pixels of an image have been replaced at each point.

    Args:
        protocol: the rules.
        size: (H, W).

    Raises:
        XkdError: the image has too few pixels for so many steps.
    """
    n_pixels, steps = size[0] * size[1], Fraction(str(protocol.steps))
    whole = math.ceil(n_pixels / steps)
    counts = [
        min(int(step * n_pixels / steps) if protocol.schedule == "even" else step * whole, n_pixels)
        for step in points(protocol)
    ]
    if any(after <= before for before, after in pairwise(counts)):
        most = n_pixels if protocol.schedule == "even" else math.isqrt(n_pixels)
        raise XkdError(
            f"steps: {protocol.steps:g} found for images of {size[0]}x{size[1]} pixels, of which some steps would "
            f"replace none; choose at most {most}"
        )
    return counts
