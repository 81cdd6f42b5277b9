"""Noisy linear infill (Rong et al., ICML 2022): removed pixels become the weighted mean of their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.multigrid import neighbour_sums, solve_holes

_PIXELS = 224 * 224  # that a CPU fills in at a time


def infilled(image: Tensor, hidden: Tensor) -> Tensor:
    """An image without some of its pixels, which are solved for jointly, without noise.

    Each removed pixel is the mean of its neighbours, 1/6 for direct and 1/12 for diagonal ones, renormalised at the
    border. Values agree with the exact solution to 1e-6 of the largest. An affine change of the image's values, as a
    normalisation, may as well be made afterwards.

    Args:
        image: (C, H, W).
        hidden: (S, H, W) booleans, the pixels that S copies lack.

    Returns:
        (S, C, H, W) of the image's type.

    Raises:
        XkdError: a copy in which no pixel is left.
    """
    if hidden.flatten(1).all(1).any():
        raise XkdError("hidden: no pixel is left of an image; expected at least one, of which others can be filled in")
    # An accelerator would wait for each copy; on a CPU many large ones side by side would leave its cache.
    together = max(1, _PIXELS // hidden[0].numel()) if image.device.type == "cpu" else len(hidden)
    return torch.cat([_filled(image, part) for part in hidden.split(together)])


def _filled(image: Tensor, hidden: Tensor) -> Tensor:
    copies = image.expand(len(hidden), *image.shape).clone()
    rows, columns = (_span(hidden.any(0).any(dim)) for dim in (1, 0))
    if rows.stop == 0:
        return copies
    part = copies[..., rows, columns]
    holes = hidden[:, None, rows, columns]
    right = torch.where(holes, neighbour_sums(part.double().masked_fill(holes, 0.0)), 0.0)
    part[:] = torch.where(holes, solve_holes(holes, right).to(image.dtype), part)
    return copies


def _span(occupied: Tensor) -> slice:
    """From one before the first to one behind the last: a hole's edge meets pixels that are known, or the border's."""
    places = occupied.nonzero()[:, 0].tolist()
    return slice(max(places[0] - 1, 0), places[-1] + 2) if places else slice(0, 0)


def infill_noise(identifier: str, fraction: float, seed: int, image: Tensor) -> Tensor:
    """Standard normal numbers for one image's infill, the same whichever pixels of it go.

    Args:
        identifier: the image's id.
        fraction: of its pixels that is removed.
        seed: of the protocol.
        image: (C, H, W), the shape that is drawn.
    """
    drawn = image_generator(identifier, seed, "infill", repr(float(fraction))).standard_normal(
        tuple(image.shape), dtype="float32"
    )
    return torch.from_numpy(drawn).to(image.device)
