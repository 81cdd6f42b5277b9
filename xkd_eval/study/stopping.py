"""Enough is enough: a test ends once the intervals of its headline scores are narrow.

Fixed-width sequential estimation (Chow and Robbins, Annals of Mathematical Statistics 1965). The images come in a
random order that depends on their ids and a seed alone, and the intervals are looked at after fixed numbers of them:
so when a test ends depends neither on batches and processes nor on where a run was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.study.options import RunOptions

# An interval of fewer images says too little of its own width.
_FIRST = 200
_GROWTH = 2**0.25


@dataclass(frozen=True)
class Stopping:
    """When a test ends, as protocol.json holds it.

    Attributes:
        until: how far the 95 % interval of each headline score may reach to either side: points, of a score without
            bounds percent of its value.
        seed: of the images' order.
    """

    until: float
    seed: int


def stopping_of(test: Evaluation, options: RunOptions) -> Stopping | None:
    """What `until` means for a test; None where all images are scored."""
    if options.until is None or test.needs_all_images:
        return None
    return Stopping(options.until, options.seed)


def looks(n_images: int) -> list[int]:
    """After how many images the intervals are looked at: from 200 on, a fifth more each time, and all at last."""
    counts, count = [], float(_FIRST)
    while round(count) < n_images:
        counts.append(round(count))
        count *= _GROWTH
    return [*counts, n_images]


def stopping_note(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know of a test that did not have to score all images: a sentence; none of others.

    Args:
        summary: as summary.json holds it.
    """
    if "stopping" not in summary:
        return []
    until, after, n_images = summary["stopping"]["until"], summary["stopped_after"], summary["data"]["n_images"]
    if after == n_images:
        return [f"until {until:g}: all {n_images:,} images were scored"]
    return [
        f"ended after {after:,} of {n_images:,} images in random order: no headline score's 95 % interval reaches "
        f"further than {until:g} points to either side"
    ]


def is_narrow(test: Evaluation, summary: Mapping[str, Any], until: float) -> bool:
    """Whether the interval of every headline score reaches no further than `until` from the score.

    Args:
        test: whose scores they are.
        summary: what it makes of rows; a score that is undefined, or without an interval, is not narrow.
        until: points; of a score that may have any value, percent of what it has.
    """
    for spec in test.specs():
        if spec.x is not None or not spec.is_at_least("headline"):
            continue
        found = spec.of(summary)
        if found is None:  # as of a direction that is left out
            continue
        if found["value"] is None or found["ci95"] is None:
            return False
        low, high = found["ci95"]
        bounded = spec.unit == "%" or (spec.range is not None and None not in spec.range)
        allowed = until / 100 * (1 if bounded else abs(found["value"]))
        reach = max(found["value"] - low, high - found["value"])
        if not reach <= allowed and not math.isclose(reach, allowed):
            return False
    return True
