"""Forms of a map: how a raw one becomes values in [0, 1] at the image's size. They change numbers, so protocols name
them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.evaluations.ranks import is_degenerate, tie_permutation, upsample


def _minmax(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return unit(upsample(maps, size))


def _relu(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return _minmax(maps.clamp(min=0), size)


def _lowres(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return upsample(unit(maps.float()), size)


def _magnitude(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return unit(upsample(maps, size).abs())


def _absolute(maps: Tensor, size: tuple[int, int]) -> Tensor:
    sized = upsample(maps, size).abs()
    return sized / sized.amax((1, 2), keepdim=True).clamp(min=torch.finfo(sized.dtype).tiny)


def _cubic(maps: Tensor, size: tuple[int, int]) -> Tensor:
    clean = torch.where(is_degenerate(maps)[:, None, None], torch.zeros_like(maps), maps).double()
    return unit(F.interpolate(clean[:, None], size, mode="bicubic", align_corners=False)[:, 0])


FORMS: dict[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "minmax": _minmax,
    "relu": _relu,
    "lowres": _lowres,
    "magnitude": _magnitude,
    "absolute": _absolute,
    "cubic": _cubic,
}
"""Name -> (B, h, w) raw maps and (H, W) -> (B, H, W) in [0, 1]. minmax: up-sampled, then min-maxed; relu: negative
values are 0 first; lowres: min-maxed, then up-sampled, so that the peak stays below 1 (torch-cam); magnitude: min-max
of the up-sampled map's absolute values (Xplique); absolute: these as shares of the greatest, so 0 stays 0; cubic:
up-sampled bicubically, as OpenCV does, and min-maxed, in float64 (wsolevaluation)."""


def in_form(maps: Tensor, form: str, size: tuple[int, int], tie_seed: int = 0) -> tuple[Tensor, Tensor]:
    """Maps in [0, 1] at a size, and which of them are degenerate in that form.

    A map without two different finite values, in the form, becomes a random one: the tie permutation as values. So it
    is scored as a random map and counted, and never taken for background.

    Args:
        maps: (B, h, w) raw.
        form: of FORMS.
        size: (H, W).
        tie_seed: of the permutation.

    Returns:
        (B, H, W) float32 in [0, 1], float64 in the form "cubic", and (B,) booleans.
    """
    made = FORMS[form](maps, size)
    degenerate = is_degenerate(maps) | is_degenerate(made)
    if degenerate.any():
        n_pixels = size[0] * size[1]
        order = tie_permutation(n_pixels, tie_seed).to(made) / max(n_pixels - 1, 1)
        made = torch.where(degenerate[:, None, None], order.reshape(size), made)
    return made, degenerate


def unit(maps: Tensor) -> Tensor:
    """(B, h, w) -> min-maxed to [0, 1] image by image; what has no two finite values is zero."""
    clean = torch.where(is_degenerate(maps)[:, None, None], torch.zeros_like(maps), maps)
    low, high = clean.amin((1, 2), keepdim=True), clean.amax((1, 2), keepdim=True)
    return torch.where(high > low, (clean - low) / (high - low), torch.zeros_like(clean))
