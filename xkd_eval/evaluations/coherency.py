"""Coherency and complexity of a map (Poppi et al., CVPRW 2021), of which ADCC and ARCC are made."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.forms import in_form


@dataclass(frozen=True)
class MapAndAgain:
    """What a map says, and the map of the same class for the image times it.

    Attributes:
        degenerate: (B,) whether the map is.
        coherency: (B,) float64, (1 + Pearson's r of both maps) / 2; 0 where the second map is degenerate.
        complexity: (B,) float64, the map's mean.
    """

    degenerate: Tensor
    coherency: Tensor
    complexity: Tensor


def map_and_again(batch: Batch, form: str, size: tuple[int, int], tie_seed: int) -> tuple[Tensor, MapAndAgain]:
    """The maps in a form, and what explaining the same class of the image times its map says of them.

    Args:
        batch: whose explainer is asked again.
        form: of FORMS.
        size: (H, W).
        tie_seed: of the permutation that stands in for degenerate maps.

    Returns:
        (B, H, W) maps in [0, 1], and the rest.
    """
    maps, degenerate = in_form(batch.required_maps(), form, size, tie_seed)
    products = batch.images * maps[:, None]
    again, lost = in_form(batch.explain(products, batch.target), form, size, tie_seed)
    coherency = ((1 + correlation(maps, again)) / 2).masked_fill(lost, 0.0)
    return maps, MapAndAgain(degenerate, coherency, maps.double().mean((1, 2)))


def correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Pearson's r of each pair of maps that are not constant: (B, H, W) -> (B,) float64."""
    first, second = (values.double() - values.double().mean((1, 2), keepdim=True) for values in (maps, others))
    product = (first.square().sum((1, 2)) * second.square().sum((1, 2))).sqrt()
    return ((first * second).sum((1, 2)) / product).clamp(-1, 1)


def harmonic_mean(parts: Tensor) -> Tensor:
    """(n, B) of [0, 1] -> (B,): 0 where one of them is 0, NaN where one is."""
    return len(parts) / (1 / parts).sum(0)
