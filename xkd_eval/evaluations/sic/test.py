"""SIC and AIC (Kapishnikov et al., ICCV 2019): the answers to an image of which more and more is revealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import in_bytes, stacked
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.means import curve_score, defined_columns, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.removal import answer_values
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.evaluations.sic.curve import ABSCISSAE, curve_area, information_curve
from xkd_eval.evaluations.sic.options import SicOptions
from xkd_eval.evaluations.sic.protocol import PRESETS, SicProtocol, sic_protocol
from xkd_eval.evaluations.sic.revealing import information, interpolated, revealed_pixels, starting_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve

_READ = {"sic": "revealed_probability", "aic": "revealed_hit"}
"""Score -> the column with what is read of the answers."""
_DRAWN = slice(None, None, 10)  # of the 1001 points, those that a mean curve is drawn by


class SicTest(Evaluation):
    """Areas under the probability (SIC) and the accuracy (AIC) against the information that is revealed.

    Args:
        protocol: the rules.
    """

    name = "sic"
    title = "Performance information curves"
    citation = "Kapishnikov et al., XRAI: Better Attributions Through Regions, ICCV 2019"
    question = "How little of the image, in bytes, does the model need of the most relevant pixels to be sure again?"
    cost = "1 + 14"
    forwards_again = True
    in_comparisons = False
    about = (
        "SIC leaves out images whose clean probability is too low, both those whose first, interpolated image is no "
        "worse than the clean one: read how many were scored."
    )
    curve_caption = "Probability (SIC) and accuracy (AIC) against the information revealed, both from first to clean."
    figure_names = ("information_curves",)
    presets = PRESETS
    Options = SicOptions
    Protocol = SicProtocol
    protocol: SicProtocol

    @classmethod
    def create(cls, rules: Rules, options: SicOptions) -> Self:
        """See Evaluation.create."""
        return cls(sic_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. Lists run from the first image to the clean one; without a curve an area is NaN."""
        rules, size = self.protocol, self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        ranks = removal_order(size, rules.tie_seed, maps.device).descending(maps)[0].cpu().numpy()
        clean = [in_bytes(pixels).permute(1, 2, 0).cpu().numpy() for pixels in batch.pixels]
        images = [self._revealed(*one) for one in zip(batch.ids, clean, ranks, strict=True)]
        logits = torch.cat([_classified(images, batch), batch.logits[:, None]], 1)
        columns: Columns = {
            "degenerate": degenerate.cpu().numpy(),
            "revealed_probability": answer_values(logits, batch.target).cpu().numpy(),
            "revealed_hit": (logits.argmax(2) == batch.target[:, None]).cpu().numpy(),
            "revealed_bytes": np.array(
                [[*map(information, made), information(whole)] for made, whole in zip(images, clean, strict=True)]
            ),
        }
        return columns | {name: curve_area(self._curves(name, columns)) for name in _READ}

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        curves = {f"{name}_curve": self._curves(name, rows)[:, _DRAWN] for name in _READ}
        return defined_columns({**rows, **curves}, (*_READ, *curves, "degenerate"))

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _specs()

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras: the area under the median curve, as the authors take it of a set."""
        found: dict[str, Any] = {}
        for name in _READ:
            curves = self._curves(name, rows)
            curves = curves[~np.isnan(curves[:, 0])]
            median = float(curve_area(np.median(curves, axis=0))) if len(curves) else None
            found[f"{name}_of_set"] = {"images": len(curves), "of": len(rows[name]), "median_curve": median}
        return {**super().extras(rows), **found}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        sets = {name: summary[f"{name}_of_set"] for name in _READ}
        scored = [f"{name.upper()}: scored {one['images']} of {one['of']} images" for name, one in sets.items()]
        return super().notes(summary) + scored

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality."""
        return rows["sic"]

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure."""
        from xkd_eval.figures.curves import removal_curves

        panels = {f"{name.split('_')[0].upper()} (higher is better)": found for name, found in curves.items()}
        return removal_curves(panels, "Information (%)", "Answer (%)") if panels else None

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), None)
        return {} if figure is None else {"information_curves": figure}

    def _revealed(self, identifier: str, clean: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """(H, W, C) and (H, W) ranks -> (1 + shares, H, W, C), from the first image on."""
        start = starting_pixels(identifier, ranks.shape, self.protocol.start, self.protocol.seed)
        counts = [0, *revealed_pixels(self.protocol.shares, ranks.size)]
        return np.stack([interpolated(clean, start | (ranks < count)) for count in counts])

    def _curves(self, name: str, rows: StoredColumns) -> np.ndarray:
        """(B, 1001) of a score, NaN in the rows of images that have no curve."""
        # The probability below which an image is left out is none of a hit or a miss: a miss has no curve anyway.
        pairs = zip(rows[_READ[name]], rows["revealed_bytes"], strict=True)
        least = self.protocol.least if name == "sic" else 0.0
        return np.stack([information_curve(*pair, least, self.protocol.monotone) for pair in pairs])


def _classified(images: list[np.ndarray], batch: Batch) -> Tensor:
    """B stacks of n images (n, H, W, C) -> (B, n, K) logits; normalised a chunk at a time."""
    flat = stacked([torch.from_numpy(made) for made in images]).flatten(0, 1).permute(0, 3, 1, 2)
    parts = [batch.preprocess.normalise(part.to(batch.images.device)) for part in flat.split(batch.network.chunk)]
    return torch.cat([batch.network.classify(part) for part in parts]).unflatten(0, (len(images), -1))


@lru_cache(maxsize=1)
def _specs() -> tuple[ScoreSpec, ...]:
    areas = tuple(
        mean_score(name, name.upper(), better="higher", range=(0, 1), role="headline" if name == "sic" else "shown")
        for name in _READ
    )
    x = tuple(ABSCISSAE[_DRAWN].tolist())
    more: dict[str, Any] = {"better": "higher", "range": (0, 1), "role": "compared"}
    curves = tuple(curve_score(f"{name}_curve", f"{name.upper()} curve", x, area=name, **more) for name in _READ)
    return areas + curves
