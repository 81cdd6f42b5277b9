"""The rules of the perturbation test, and their arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xkd_eval.errors import check_choice
from xkd_eval.evaluations.areas import area
from xkd_eval.evaluations.fractions import increasing_fractions
from xkd_eval.evaluations.perturbation.options import DEFAULT_FRACTIONS, DIRECTIONS, PerturbationOptions
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import FILLS


@dataclass(frozen=True)
class PerturbationProtocol(Rules):
    """Positive and negative perturbation test.

    Attributes:
        fractions: of the pixels, removed one after the other from the clean image.
        fill: what a removed pixel becomes, of FILLS.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    fractions: tuple[float, ...] = DEFAULT_FRACTIONS
    fill: str = "black"
    tie_seed: int = 0


def perturbation_protocol(rules: Rules, options: PerturbationOptions) -> PerturbationProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: fractions that do not increase within (0, 1), an unknown fill or direction.
    """
    fractions = increasing_fractions(options.fractions)
    check_choice("fill", options.fill, tuple(FILLS))
    check_choice("direction", options.direction, ("both", *DIRECTIONS))
    protocol = PerturbationProtocol(**rules.shared(), fractions=fractions, fill=options.fill)
    return protocol.but({"fractions": DEFAULT_FRACTIONS, "fill": "black"})


def area_under_curve(curve: np.ndarray, fractions: tuple[float, ...]) -> np.ndarray:
    """Trapezoid over 0 and `fractions`: (..., 1 + F) -> (...). Not divided by the range (0.9 by default)."""
    return area("fractions", curve, np.array([0.0, *fractions]))
