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
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.study.options import RunOptions

# An interval of fewer images says too little of its own width.
_FIRST = 200
_GROWTH = 2**0.25


@dataclass(frozen=True)
class Stopping:
    """When a test ends, as protocol.json holds it.

    Attributes:
        until: how far the 95 % interval of each headline score may reach to either side, in points; see `is_narrow`.
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
        f"ended after {after:,} of {n_images:,} images in random order: the 95 % intervals of the headline scores "
        f"reach no further than {until:g} points to either side"
    ]


def is_narrow(test: Evaluation, summary: Mapping[str, Any], n_images: int, until: float) -> bool:
    """Whether the interval of every score that is asked about reaches no further than `until` from the score.

    Those are the headline scores in points: shares, and numbers between two bounds. A test that has none is asked about
    its other headline scores, or else about those that are shown, each in percent of its value.

    Args:
        test: whose scores they are.
        summary: what it makes of rows; a score that is undefined, or without an interval, is not narrow.
        n_images: of which it is made. Where all of them agree the interval has no width, and is taken to reach as far
            as it would for a share that none of so many images has (3 / n, the rule of three).
        until: points, or percent.
    """
    asked = _asked(test, summary)
    for spec, in_points in asked:
        found = spec.of(summary)
        if found["value"] is None or found["ci95"] is None:
            return False
        low, high = found["ci95"]
        reach = max(found["value"] - low, high - found["value"]) or 3 / n_images
        allowed = until / 100 * (1 if in_points else abs(found["value"]))
        if not reach <= allowed and not math.isclose(reach, allowed):
            return False
    return bool(asked)


def _asked(test: Evaluation, summary: Mapping[str, Any]) -> list[tuple[ScoreSpec, bool]]:
    """The scores that decide, and whether each is in points; a direction that was left out has none."""
    there = [spec for spec in test.specs() if spec.x is None and spec.of(summary) is not None]
    headlines = [spec for spec in there if spec.is_at_least("headline")]
    points = [spec for spec in headlines if _is_in_points(spec)]
    chosen = points or headlines or [spec for spec in there if spec.is_at_least("shown")]
    return [(spec, _is_in_points(spec)) for spec in chosen]


def _is_in_points(spec: ScoreSpec) -> bool:
    return spec.unit == "%" or (spec.range is not None and None not in spec.range)
