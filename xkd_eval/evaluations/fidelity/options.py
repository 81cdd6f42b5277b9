"""What a user chooses of the fidelity test."""

from __future__ import annotations

from dataclasses import dataclass

CKA_IMAGES = 5000


@dataclass(frozen=True)
class FidelityOptions:
    """What the fidelity test takes beside the shared rules.

    Attributes:
        cka_images: about how many images at most, drawn by their ids, keep the pooled features of which CKA is made.
    """

    cka_images: int = CKA_IMAGES
