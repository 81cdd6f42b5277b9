"""Positive and negative perturbation test (Chefer et al., CVPR 2021): remove pixels by relevance, classify again."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.base import Batch, Columns, Evaluation, Forward
from xkd_eval.evaluations.ranks import RemovalOrder, is_degenerate, upsample
from xkd_eval.protocol import PerturbationProtocol
from xkd_eval.statistics.bootstrap import Means, Score, scores_with_intervals

Direction = Literal["positive", "negative"]
DIRECTIONS: tuple[Direction, ...] = ("positive", "negative")

_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0  # RISE (Petsiuk et al., BMVC 2018)


class PerturbationTest(Evaluation):
    """Top-1 accuracy while the most relevant ("positive") or the least relevant ("negative") pixels are removed.

    Args:
        protocol: the rules.
        directions: which of the two to run.
    """

    name = "perturbation"
    needs_labels = True
    needs_masks = False
    forwards_again = True

    def __init__(self, protocol: PerturbationProtocol, directions: tuple[Direction, ...] = DIRECTIONS) -> None:
        self.protocol: PerturbationProtocol = protocol
        self.directions = directions
        self._order: RemovalOrder | None = None

    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """The input's, whose pixels are removed."""
        return preprocess.size

    def rows(self, batch: Batch, forward: Forward, chunk: int) -> Columns:
        """See Evaluation.rows. Lists hold one value a fraction, in the order of the protocol's fractions."""
        size = self.scored_size(batch.preprocess)
        if self._order is None:  # one evaluation sees one input size
            self._order = RemovalOrder(size, self.protocol.tie_seed, batch.images.device)
        maps = upsample(batch.maps, size)
        descending, tie_share = self._order.descending(maps)
        columns: dict[str, Tensor] = {
            "degenerate": is_degenerate(maps),
            "tie_share": tie_share,
            **_outcomes("clean", batch.logits[:, None], batch.labels, batch.explained),
        }
        fill = fill_image(batch.pixels, batch.preprocess, self.protocol.fill)
        for direction in self.directions:
            ranks = descending if direction == "positive" else self._order.ascending(maps)
            logits = _masked_logits(batch.images, fill, ranks, self.removed_pixels(size), forward, chunk)
            columns.update(_outcomes(direction, logits, batch.labels, batch.explained))
        return {name: _numpy(values) for name, values in columns.items()}

    def removed_pixels(self, size: tuple[int, int]) -> list[int]:
        """How many pixels each fraction removes of an image of `size`: int(p H W), as published."""
        return [int(fraction * size[0] * size[1]) for fraction in self.protocol.fractions]

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return {name: values for name, values in rows.items() if values.dtype.kind in "bf"}

    def scores(self) -> dict[str, Score]:
        """See Evaluation.scores."""
        scores: dict[str, Score] = {
            "clean_accuracy": lambda means: means["clean_hit"],
            "tie_share": lambda means: means["tie_share"],
        }
        for direction in self.directions:
            scores.update(_direction_scores(direction, self.protocol.fractions))
        return scores

    def summarise(self, rows: Columns) -> dict[str, Any]:
        """See Evaluation.summarise."""
        flat = scores_with_intervals(self.columns(rows), self.scores())
        return {"fractions": [0.0, *self.protocol.fractions], **_nested(flat)}


def area_under_curve(curve: np.ndarray, fractions: tuple[float, ...]) -> np.ndarray:
    """Trapezoid over 0 and `fractions`: (..., 1 + F) -> (...). Not divided by the range (0.9 by default)."""
    return np.trapezoid(curve, x=np.array([0.0, *fractions]), axis=-1)


def fill_image(pixels: Tensor, preprocess: Preprocess, fill: str) -> Tensor:
    """What removed pixels are replaced by, normalised: (1, 3, 1, 1) for a colour, (B, 3, H, W) for the blur.

    Args:
        pixels: (B, 3, H, W) uint8.
        preprocess: normalises the fill as it does the image.
        fill: "black" in [0, 1] space, the "mean" colour of the normalisation, or "blur" (kernel 11, sigma 5).
    """
    if fill == "blur":
        from torchvision.transforms.functional import gaussian_blur

        return preprocess.normalise(gaussian_blur(pixels.float() / 255, [_BLUR_KERNEL] * 2, [_BLUR_SIGMA] * 2))
    colour = (0.0, 0.0, 0.0) if fill == "black" else preprocess.mean_colour
    return preprocess.colour(colour, like=pixels)[None]


def _masked_logits(
    images: Tensor, fill: Tensor, ranks: Tensor, removed: list[int], forward: Forward, chunk: int
) -> Tensor:
    """(B, F, K) logits of every image with its `removed[f]` first-ranked pixels replaced by `fill`."""
    n_images, n_masks = len(images), len(removed)
    fills = fill.expand(n_images, *fill.shape[1:])
    limits = torch.tensor(removed, dtype=ranks.dtype, device=ranks.device)
    copies = torch.arange(n_images * n_masks, device=images.device)
    logits = []
    for part in copies.split(chunk):
        padded = torch.cat([part, part.new_zeros(chunk - len(part))])
        image, mask = padded % n_images, padded // n_images
        hidden = ranks[image] < limits[mask, None, None]
        logits.append(forward(torch.where(hidden[:, None], fills[image], images[image]))[: len(part)])
    return torch.cat(logits).unflatten(0, (n_masks, n_images)).transpose(0, 1)


def _outcomes(prefix: str, logits: Tensor, labels: Tensor, explained: Tensor) -> dict[str, Tensor]:
    """Per image (and mask) of logits (B, F, K): hit, probability and logit of the explained class, log ratio.

    The log ratio is that of the true class to the best other one. With F = 1, as for the clean images, (B,) tensors.
    """
    explained_index = explained[:, None, None].expand(-1, logits.shape[1], 1)
    label_index = labels[:, None, None].expand_as(explained_index)
    label_logit = logits.gather(2, label_index)[..., 0]
    best_other = logits.scatter(2, label_index, -torch.inf).amax(2)
    outcomes = {
        f"{prefix}_hit": logits.argmax(2) == labels[:, None],
        f"{prefix}_probability": logits.softmax(2).gather(2, explained_index)[..., 0],
        f"{prefix}_logit": logits.gather(2, explained_index)[..., 0],
        f"{prefix}_log_ratio": label_logit - best_other,
    }
    return {name: values[:, 0] if prefix == "clean" else values for name, values in outcomes.items()}


def _direction_scores(direction: str, fractions: tuple[float, ...]) -> dict[str, Score]:
    def curve(means: Means, outcome: str = "hit") -> np.ndarray:
        return np.concatenate([means[f"clean_{outcome}"][:, None], means[f"{direction}_{outcome}"]], axis=1)

    def auc(means: Means) -> np.ndarray:
        return area_under_curve(curve(means), fractions)

    return {
        f"{direction}.auc": auc,
        f"{direction}.auc_relative": lambda means: auc(means) / (fractions[-1] * means["clean_hit"]),
        f"{direction}.curve": curve,
        f"{direction}.probability_auc": lambda means: area_under_curve(curve(means, "probability"), fractions),
        f"{direction}.probability_curve": lambda means: curve(means, "probability"),
        f"{direction}.log_ratio_curve": lambda means: curve(means, "log_ratio"),
    }


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        group, _, score = name.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[score] = value
    return nested


def _numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
