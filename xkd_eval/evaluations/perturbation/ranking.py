"""Mean average precision of photographs that may hold several classes, as a mean over images that can be drawn anew."""

from __future__ import annotations

import numpy as np


def map_values(logits: np.ndarray, held: np.ndarray, target: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """Values whose mean is the mean average precision.

    A class ranks, by its logit, the images that explain it (positives) and those of photographs without it
    (negatives). The images of a photograph that holds it and explain another label are left out: whether the class is
    still to be seen there is chance. A photograph counts once in each ranking, so its n negatives weigh 1 / n each, and
    of photographs as they are the result is the one that is published. Its average precision is the mean over
    positives of the precision at each, ties counted whole; classes without a positive or a negative have none.

    The mean over classes is no mean over images. To it is added what each image weighs in it, to first order: the
    infinitesimal jackknife (Jaeckel, 1972), of which the sum is 0. So the mean of these values is exact, and bootstrap
    draws of them move as the mean average precision of the draws does, to first order.

    Args:
        logits: (n, K).
        held: (n, K) booleans, all classes that each image's photograph holds.
        target: (n,) the class that each image explains, which it holds.
        photographs: (n,) integers, equal for images of one photograph.

    Returns:
        (n,) float64; NaN where no class has both a positive and a negative.
    """
    _, places, counts = np.unique(photographs, return_inverse=True, return_counts=True)
    weights = 1 / counts[places]
    precisions, pulls = [], np.zeros(len(target))
    for index in np.unique(target):
        positive, negative = np.flatnonzero(target == index), np.flatnonzero(~held[:, index])
        if len(negative):
            scores = logits[:, index].astype(np.float64)
            precision, up, down = _ranked(scores[positive], scores[negative], weights[negative])
            precisions.append(precision)
            pulls[positive] += up
            pulls[negative] += down
    if not precisions:
        return np.full(len(target), np.nan)
    return np.mean(precisions) + len(target) * pulls / len(precisions)


def _ranked(positives: np.ndarray, negatives: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Average precision of one class, and its derivative with respect to the weight of each positive and negative.

    With T the positives at or above a positive and F the weight of such negatives, the precision there is T / (T + F).
    """
    ranked, order = np.sort(positives), np.argsort(negatives, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    true = len(ranked) - np.searchsorted(ranked, ranked)
    false = below[-1] - below[np.searchsorted(negatives[order], ranked)]
    # What the two weigh in the precision of every positive at or below them.
    gained, lost = (np.concatenate([[0.0], np.cumsum(part / (true + false) ** 2)]) for part in (false, true))
    precision = true / (true + false)
    mean = precision.mean()
    own = precision[np.searchsorted(ranked, positives)] - mean
    up = own + gained[np.searchsorted(ranked, positives, side="right")]
    down = -weights * lost[np.searchsorted(ranked, negatives, side="right")]
    return float(mean), up / len(ranked), down / len(ranked)
