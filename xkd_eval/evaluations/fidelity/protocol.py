"""The rules of the fidelity test."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.fidelity.alignment import FEWEST
from xkd_eval.evaluations.fidelity.options import CKA_IMAGES, FidelityOptions
from xkd_eval.evaluations.protocol import Rules


@dataclass(frozen=True)
class FidelityProtocol(Rules):
    """Answers and features of a model beside those of the reference.

    Attributes:
        cka_images: about how many images at most keep their features; those with the lowest hash of their id.
    """

    cka_images: int = CKA_IMAGES


def fidelity_protocol(rules: Rules, options: FidelityOptions) -> FidelityProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: too few images for CKA.
    """
    if options.cka_images < FEWEST:
        raise XkdError(
            f"cka_images: {options.cka_images} found; CKA with an interval takes at least {FEWEST} images, and is "
            "steady from about 1000"
        )
    return FidelityProtocol(**rules.shared(), cka_images=options.cka_images)
