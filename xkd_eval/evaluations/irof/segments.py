"""Superpixels of an image, and the order in which relevance removes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import in_bytes
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.ranks import RemovalOrder


def superpixels(pixels: Tensor, segments: int, compactness: float) -> np.ndarray:
    """SLIC superpixels (Achanta et al., TPAMI 2012), by scikit-image.

    Args:
        pixels: (C, H, W) as in a batch; of three channels colours are compared, of others their values.
        segments: about how many; SLIC makes fewer where colours run together.
        compactness: weight of distance against colour.

    Returns:
        (H, W) integers from 0, each of which occurs.

    Raises:
        XkdError: more segments than pixels.
    """
    from skimage.segmentation import slic

    height, width = pixels.shape[1:]
    if segments > height * width:
        raise XkdError(
            f"segments: {segments} found for images of {height}x{width} pixels; choose at most {height * width}"
        )
    found = slic(in_bytes(pixels).permute(1, 2, 0).cpu().numpy(), n_segments=segments, compactness=compactness)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)


def segment_ranks(relevance: Tensor, segments: np.ndarray, tie_seed: int) -> Tensor:
    """Which segment goes when: that of the highest mean relevance first.

    Args:
        relevance: (H, W) floats.
        segments: (H, W) integers from 0.
        tie_seed: of the permutation that decides between equal means.

    Returns:
        (H, W) integers, of each pixel the rank of its segment.
    """
    flat = segments.ravel()
    means = np.bincount(flat, weights=relevance.cpu().numpy().ravel()) / np.bincount(flat)
    order = RemovalOrder((1, len(means)), tie_seed, torch.device("cpu"))
    ranks = order.descending(torch.from_numpy(means).float()[None, None])[0].flatten()
    return ranks[torch.from_numpy(segments)].to(relevance.device)
