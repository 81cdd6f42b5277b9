"""Fractions of an image's pixels, at which a curve has its points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from xkd_eval.errors import XkdError


def increasing_fractions(given: Any, why: str = "") -> tuple[float, ...]:
    """The option `fractions`, checked.

    Args:
        given: one number or several.
        why: they are within 0 and 1, for the message.

    Raises:
        XkdError: they do not increase within (0, 1).
    """
    values = [given] if isinstance(given, int | float) else list(given)
    within = bool(values) and all(isinstance(value, int | float) and 0 < value < 1 for value in values)
    if not within or values != sorted(set(values)):
        raise XkdError(
            f"fractions: got {', '.join(map(str, values)) or 'none'}; expected increasing values between 0 and 1, "
            f"{why}such as 0.1,0.2,0.5"
        )
    return tuple(float(value) for value in values)


def removed_pixels(fractions: tuple[float, ...], size: tuple[int, int]) -> list[int]:
    """How many pixels each fraction removes of an image of `size`: int(p H W), as published.

    Raises:
        XkdError: a step that removes no pixel.
    """
    counts = [int(fraction * size[0] * size[1]) for fraction in fractions]
    check_more("fractions", fractions, [0, *counts], of=f"{size[0]}x{size[1]}", than="step")
    return counts


def check_more(argument: str, shares: Sequence[float], counts: Sequence[int], *, of: str, than: str) -> None:
    """Whether each share of an image's pixels is at least one pixel more than the one before.

    Args:
        argument: the option that has the shares.
        shares: increasing.
        counts: of pixels, (1 + shares,): that before the first share first.
        of: how many pixels there are, and
        than: what a share is, for the message.

    Raises:
        XkdError: one is not.
    """
    for share, (before, after) in zip(shares, pairwise(counts), strict=True):
        if before == after:
            raise XkdError(
                f"{argument}: {share} of {of} pixels is no pixel more than the {than} before; give fewer or larger "
                f"{argument}, or images of more pixels"
            )
