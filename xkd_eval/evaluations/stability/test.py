"""Relative input stability (Agarwal et al., 2022). It divides by every pixel: one of them decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.noise import uniform_noise
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import is_degenerate
from xkd_eval.evaluations.scores import Columns, ScoreSpec
from xkd_eval.evaluations.stability.options import StabilityOptions
from xkd_eval.evaluations.stability.protocol import (
    PRESETS,
    StabilityProtocol,
    relative_stability,
    stability_protocol,
)
from xkd_eval.resizing import resized


class StabilityTest(Evaluation):
    """The greatest relative change of a map by the relative change of its photograph.

    Args:
        protocol: the rules.
    """

    name = "stability"
    title = "Relative input stability"
    citation = "Agarwal et al., Rethinking Stability for Attribution-based Explanations, 2022"
    question = "How much does the map change, pixel by pixel, for how much the photograph does?"
    cost = "1 + 10 (F + E)"
    in_comparisons = False
    forwards_again = True
    explains_again = True
    about = (
        "Not recommended, and offered for comparison with papers that report it: it divides by every pixel of map and "
        "image, so that the one nearest to zero decides. Robustness asks the same and is well behaved."
    )
    presets = PRESETS
    Options = StabilityOptions
    Protocol = StabilityProtocol
    protocol: StabilityProtocol

    @classmethod
    def create(cls, rules: Rules, options: StabilityOptions) -> Self:
        """See Evaluation.create."""
        return cls(stability_protocol(rules, options))

    def noise(self, batch: Batch, sample: int) -> Tensor:
        """(B, 3, H, W) that is added to the normalised images; another test may draw otherwise.

        Args:
            batch: of B photographs.
            sample: which of the protocol's.
        """
        return uniform_noise(batch, self.protocol.low, self.protocol.high, self.protocol.noise_seed, sample)

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. A map that is constant, or whose noisy images all have another prediction, has none."""
        size = self.scored_size(batch.preprocess)
        maps, degenerate = resized(batch.required_maps(), size), is_degenerate(batch.required_maps())
        predicted, changes, kept = batch.logits.argmax(1), [], []
        for sample in range(self.protocol.samples):
            images = (batch.images + self.noise(batch, sample)).float()
            noisy = resized(batch.explain(images, batch.target), size)
            changes.append(relative_stability(maps, noisy, batch.images, images))
            if self.protocol.changed_prediction != "counted":
                kept.append(batch.network.classify(images).argmax(1) == predicted)
        values = torch.stack(changes, 1)
        defined = values.isfinite() & ~degenerate[:, None]
        same = torch.stack(kept, 1) if kept else torch.ones_like(defined)
        greatest = values.where(defined & same, -torch.inf).amax(1)
        greatest = greatest.where(greatest > -torch.inf, torch.nan)
        if self.protocol.changed_prediction == "undefined":
            greatest = greatest.where(same.all(1), torch.nan)
        return {
            "degenerate": degenerate.cpu().numpy(),
            "relative_input_stability": greatest.cpu().numpy(),
            "prediction_kept": same.double().mean(1).cpu().numpy(),
        }

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return {"degenerate": rows["degenerate"], **defined_columns(rows, [spec.name for spec in _SPECS])}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        return ["not recommended: the pixel nearest to zero decides", *super().notes(summary)]


_SPECS = (
    mean_score(
        "relative_input_stability",
        "relative input stability",
        better="lower",
        range=(0, None),
        unit="",
        role="headline",
    ),
    mean_score("prediction_kept", "noisy images of the same prediction", range=(0, 1), role="detail"),
)
