"""Max- and average-sensitivity (Yeh et al., NeurIPS 2019): add noise to the photograph, explain it again."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.noise import uniform_noise
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import is_degenerate
from xkd_eval.evaluations.robustness.options import RobustnessOptions
from xkd_eval.evaluations.robustness.protocol import PRESETS, RobustnessProtocol, robustness_protocol
from xkd_eval.evaluations.scores import Columns, ScoreSpec


class RobustnessTest(Evaluation):
    """How far noise that hardly changes a photograph moves the map of the same class.

    Args:
        protocol: the rules.
    """

    name = "robustness"
    title = "Robustness"
    citation = "Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019"
    question = "How far does noise on the photograph move the map?"
    cost = "1 + 50 E; captum, latec: 1 + 10 E"
    takes_label_sets = True
    in_comparisons = False
    forwards_again = True
    explains_again = True
    about = (
        "The distance between the maps of a photograph and of its noisy copies, as a share of the map's norm. A map "
        "that looks at nothing does not move: read it beside a test of what the map says."
    )
    presets = PRESETS
    Options = RobustnessOptions
    Protocol = RobustnessProtocol
    protocol: RobustnessProtocol

    @classmethod
    def create(cls, rules: Rules, options: RobustnessOptions) -> Self:
        """See Evaluation.create."""
        return cls(robustness_protocol(rules, options))

    def noise(self, batch: Batch, sample: int) -> Tensor:
        """(B, 3, H, W) that is added to the normalised images; another test may draw otherwise.

        Args:
            batch: of B photographs.
            sample: which of the protocol's.
        """
        return uniform_noise(batch, -self.protocol.radius, self.protocol.radius, self.protocol.noise_seed, sample)

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. A map that is constant has no sensitivity."""
        maps, size = batch.required_maps(), self.scored_size(batch.preprocess)
        degenerate, clean = is_degenerate(maps), _at_size(maps, size)
        distances = []
        for sample in range(self.protocol.samples):
            noisy = batch.explain((batch.images + self.noise(batch, sample)).float(), batch.target)
            distances.append((_at_size(noisy, size) - clean).flatten(1).norm(dim=1))
        moved = torch.stack(distances, 1)
        if self.protocol.relative:
            norms = clean.flatten(1).norm(dim=1, keepdim=True)
            moved = moved / torch.where(norms > 0, norms, 1.0)
        # A noisy map that is not finite has no distance; the others of its image are scored.
        values = np.where(degenerate.cpu().numpy()[:, None] | ~np.isfinite(moved.cpu().numpy()), np.nan, moved.cpu())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an image without any is NaN
            greatest, mean = np.nanmax(values, 1), np.nanmean(values, 1)
        return {"degenerate": degenerate.cpu().numpy(), "max_sensitivity": greatest, "average_sensitivity": mean}

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return {"degenerate": rows["degenerate"], **defined_columns(rows, [spec.name for spec in _SPECS])}


def _at_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, H, W) float64, at the maps' own scale."""
    return F.interpolate(maps.double()[:, None], size, mode="bilinear", align_corners=False)[:, 0]


_SPECS = tuple(
    mean_score(name, title, better="lower", range=(0, None), unit="", role="headline")
    for name, title in (("max_sensitivity", "max-sensitivity"), ("average_sensitivity", "average sensitivity"))
)
