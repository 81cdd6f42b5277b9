"""Region perturbation (Samek et al., TNNLS 2017): regions are replaced by relevance, the answer's fall is averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.aopc.options import ORDERS, AopcOptions, Order
from xkd_eval.evaluations.aopc.protocol import PRESETS, AopcProtocol, aopc_protocol
from xkd_eval.evaluations.aopc.regions import region_numbers, region_sums
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.infills import infill_image
from xkd_eval.evaluations.means import curve_score, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.removal import answer_values, masked_answers
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve


class AopcTest(Evaluation):
    """Area over the curve of the class's probability while regions are replaced one after the other.

    Args:
        protocol: the rules.
        orders: in which of them.
    """

    name = "aopc"
    title = "Region perturbation"
    citation = "Samek et al., Evaluating the Visualization of What a Deep Neural Network Has Learned, TNNLS 2017"
    question = "How far does the class's probability fall, on average, while the most relevant regions are replaced?"
    cost = "1 + 100 an order (latec: 1 + 10)"
    takes_label_sets = True
    forwards_again = True
    in_comparisons = False
    about = (
        "AOPC is at most the clean probability: compare explainers of one model. Beside the most relevant regions "
        "first (morf) stand the least relevant first (lerf) and a random order, which morf must beat."
    )
    curve_caption = "Probability of the explained class while regions are replaced; bands are 95 % intervals."
    figure_names = ("aopc",)
    presets = PRESETS
    Options = AopcOptions
    Protocol = AopcProtocol
    protocol: AopcProtocol

    def __init__(self, protocol: AopcProtocol, orders: tuple[Order, ...] = ORDERS) -> None:
        super().__init__(protocol)
        self.orders = orders

    @classmethod
    def create(cls, rules: Rules, options: AopcOptions) -> Self:
        """See Evaluation.create."""
        return cls(aopc_protocol(rules, options), options.orders)

    @classmethod
    def from_description(cls, protocol: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """See Evaluation.from_description."""
        return cls(cls.Protocol.from_dict(protocol), tuple(settings["orders"]))

    def settings(self) -> dict[str, Any]:
        """See Evaluation.settings."""
        return {"orders": list(self.orders)}

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. Curves hold the probability after 0 to L regions."""
        rules, size = self.protocol, self.scored_size(batch.preprocess)
        numbers, grid = region_numbers(size, rules.region)
        _check_enough(rules.regions, size, grid)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        sums = torch.from_numpy(region_sums(maps.cpu().numpy(), numbers, grid[0] * grid[1])).float()
        columns: Columns = {"degenerate": degenerate.cpu().numpy()}
        clean = answer_values(batch.logits, batch.target, by=rules.probability)
        places = torch.from_numpy(numbers).to(batch.images.device)
        for order in self.orders:
            ranks = self._ranks(order, sums.reshape(-1, *grid), batch.ids).to(places.device).flatten(1)[:, places]
            fill = infill_image(batch, rules.infill, ranks, rules.seed)
            removed = list(range(1, rules.regions + 1))
            asked = (batch.network, batch.target)
            answers = masked_answers(batch.images, fill, ranks, removed, *asked, by=rules.probability)
            curve = torch.cat([clean[:, None], answers], 1).cpu().numpy()
            columns[f"aopc_{order}"] = (curve[:, :1] - curve).mean(1)
            columns[f"aopc_{order}_curve"] = curve
        return columns

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _specs(self.orders, self.protocol.regions)

    def quality(self, rows: StoredColumns) -> np.ndarray | None:
        """See Evaluation.quality: far down in morf, little in lerf."""
        signs = {"morf": 1.0, "lerf": -1.0}
        found = [signs[order] * rows[f"aopc_{order}"] for order in self.orders if order in signs]
        return np.sum(found, axis=0) if found else None

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure."""
        from xkd_eval.figures.curves import removal_curves

        panels = {_TITLES[name.split("_")[1]]: found for name, found in curves.items()}
        x_label = f"Regions replaced (% of {self.protocol.regions})"
        return removal_curves(panels, x_label, "Probability (%)", "AOPC") if panels else None

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), None)
        return {} if figure is None else {"aopc": figure}

    def _ranks(self, order: Order, sums: Tensor, ids: Sequence[str]) -> Tensor:
        """(B, rows, columns) sums -> the same shape: which region is replaced when, 0 = first."""
        if order == "random":
            drawn = [image_generator(name, self.protocol.seed, "order").permutation(sums[0].numel()) for name in ids]
            return torch.from_numpy(np.stack(drawn)).reshape(sums.shape)
        ranked = removal_order((sums.shape[1], sums.shape[2]), self.protocol.tie_seed, sums.device)
        return ranked.descending(sums)[0] if order == "morf" else ranked.ascending(sums)


_TITLES = {
    "morf": "Most relevant first (lower is better)",
    "lerf": "Least relevant first (higher is better)",
    "random": "In random order",
}
_BETTER: dict[str, Any] = {"morf": "higher", "lerf": "lower", "random": None}


def _check_enough(regions: int, size: tuple[int, int], grid: tuple[int, int]) -> None:
    if regions > grid[0] * grid[1]:
        raise XkdError(
            f"regions: {regions} found; an image of {size[0]}x{size[1]} pixels has {grid[0] * grid[1]}; expected no "
            "more, or a smaller `region`"
        )


@lru_cache(maxsize=32)
def _specs(orders: tuple[Order, ...], regions: int) -> tuple[ScoreSpec, ...]:
    return tuple(spec for order in orders for spec in _order_specs(order, regions, order == orders[0]))


def _order_specs(order: Order, regions: int, is_first: bool) -> Iterator[ScoreSpec]:
    better = _BETTER[order]
    yield mean_score(
        f"aopc_{order}",
        f"AOPC {order}",
        better=better,
        range=(-1, 1),
        role="headline" if is_first else "shown",
        note="of no map: morf must beat it" if order == "random" else "",
        of_maps=order != "random",
    )
    yield curve_score(
        f"aopc_{order}_curve",
        f"{order} curve",
        tuple(step / regions for step in range(regions + 1)),
        better={"higher": "lower", "lower": "higher", None: None}[better],
        range=(0, 1),
        role="compared",
        area=f"aopc_{order}",
    )
