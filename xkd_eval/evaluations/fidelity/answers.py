"""The answers of two models to the same images, held against each other image by image."""

from __future__ import annotations

import torch
from torch import Tensor

TOP = 5


def top1_agreement(logits: Tensor, others: Tensor) -> Tensor:
    """(B, K) and (B, K) -> (B,) booleans: both predict the same class (Stanton et al., NeurIPS 2021)."""
    return logits.argmax(1) == others.argmax(1)


def predictive_kl(reference: Tensor, logits: Tensor) -> Tensor:
    """KL(p_reference || p_model) of the softmax probabilities, natural logarithm, temperature 1.

    Args:
        reference, logits: (B, K).

    Returns:
        (B,) float64, at least 0.
    """
    theirs, ours = (values.double().log_softmax(1) for values in (reference, logits))
    shares = theirs.exp()
    # A class without any probability adds nothing, however improbable the model finds it.
    parts = torch.where(shares > 0, shares * (theirs - ours), torch.zeros_like(shares))
    return parts.sum(1).clamp(min=0)


def top_overlap(logits: Tensor, others: Tensor, top: int = TOP) -> Tensor:
    """The share of one's `top` most probable classes that are among the other's.

    Args:
        logits, others: (B, K).
        top: classes; of equal logits the first.

    Returns:
        (B,) float64 in [0, 1]; NaN where there are no more than `top` classes, which are then always the same.
    """
    if logits.shape[1] <= top:
        return torch.full((len(logits),), torch.nan, dtype=torch.float64, device=logits.device)
    first, second = (values.argsort(dim=1, descending=True, stable=True)[:, :top] for values in (logits, others))
    return (first[:, :, None] == second[:, None]).any(2).double().mean(1)
