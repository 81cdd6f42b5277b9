"""The rules of the segmentation test."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.evaluations.protocol import Rules


@dataclass(frozen=True)
class SegmentationProtocol(Rules):
    """Segmentation test: a map against the object's mask, at the masks' size, whatever the model's input.

    Attributes:
        bins: of the histograms behind the precision-recall curve.
        tie_seed: of the pixel permutation that stands in for degenerate maps.
    """

    bins: int = 256
    tie_seed: int = 0
