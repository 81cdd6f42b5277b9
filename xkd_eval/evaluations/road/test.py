"""ROAD (Rong et al., ICML 2022): remove pixels, fill in what their neighbours say of them, classify again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.means import curve_score, defined_columns, mean_score
from xkd_eval.evaluations.presets import rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.road.options import RoadOptions
from xkd_eval.evaluations.road.protocol import PRESETS, RoadProtocol, checked_rules
from xkd_eval.evaluations.road.steps import combined, road_steps
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve

_ORDERS = ("morf", "lerf")
_WHICH = {"morf": "most relevant", "lerf": "least relevant"}
_TITLES = {
    "road_morf_curve": "Most relevant first (lower is better)",
    "road_lerf_curve": "Least relevant first (higher is better)",
}


class RoadTest(Evaluation):
    """Change of the class's probability while pixels are removed whose neighbours fill them in."""

    name = "road"
    title = "ROAD"
    citation = (
        "Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods (remove and debias), "
        "ICML 2022"
    )
    question = "Does the probability fall where relevant pixels are filled in by their neighbours, and stay elsewhere?"
    cost = "1 + 9 a direction"
    takes_label_sets = True
    forwards_again = True
    crosses = True
    in_comparisons = False
    about = (
        "Each step removes a share of the clean image's pixels. The combined score is half of what removing the most "
        "relevant ones costs beyond removing the least relevant; coarse and blurred maps are favoured."
    )
    curve_caption = "Probability of the class while removed pixels are filled in; bands are 95 % intervals."
    figure_names = ("road_curves",)
    presets = PRESETS
    Options = RoadOptions
    Protocol = RoadProtocol
    protocol: RoadProtocol

    @classmethod
    def create(cls, rules: Rules, options: RoadOptions) -> Self:
        """See Evaluation.create."""
        chosen = checked_rules(rules_of(PRESETS, options))
        return cls(RoadProtocol(**rules.shared(), **chosen, noise_seed=options.noise_seed))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. Curves begin with the clean image."""
        size = self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), self.protocol.form, size, self.protocol.tie_seed)
        steps = road_steps(batch, maps, self.protocol)
        probabilities, hits = steps.probabilities(batch, self.protocol.probability), steps.hits(batch)
        morf, lerf, both = combined(probabilities)
        columns = {"degenerate": degenerate, "nothing_left": steps.nothing_left}
        columns |= {"road_morf": morf, "road_lerf": lerf, "road_combined": both}
        for place, order in enumerate(_ORDERS):
            columns[f"road_{order}_curve"] = probabilities[:, place]
            columns[f"road_{order}_accuracy"] = hits[:, place, 1:].mean(1)
            columns[f"road_{order}_accuracy_curve"] = hits[:, place]
        return {name: values.cpu().numpy() for name, values in columns.items()}

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return defined_columns(rows, [spec.name for spec in self.specs()])

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        combined_note = "half the difference of the two changes; higher is better"
        x = (0.0, *self.protocol.fractions)
        specs = [
            mean_score(
                "road_combined",
                "ROAD combined",
                better="higher",
                range=(-0.5, 0.5),
                role="headline",
                note=combined_note,
            )
        ]
        for order in _ORDERS:
            better: Any = "lower" if order == "morf" else "higher"
            which = f"{_WHICH[order]} pixels removed"
            area = f"road_{order}"
            specs += [
                mean_score(area, f"change of probability, {which}", better=better, range=(-1, 1)),
                mean_score(f"{area}_accuracy", f"accuracy, {which}", better=better, range=(0, 1), role="compared"),
                curve_score(
                    f"{area}_curve", f"probability, {which}", x, better=better, range=(0, 1), role="compared", area=area
                ),
                curve_score(
                    f"{area}_accuracy_curve", f"accuracy curve, {which}", x, better=better, range=(0, 1), role="detail"
                ),
            ]
        if self.protocol.probability == "sigmoid":  # where a photograph holds several classes, none is the right one
            specs = [spec for spec in specs if "_accuracy" not in spec.name]
        return tuple(specs)

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        facts = super().extras(rows)
        return {**facts, "fractions": list(self.protocol.fractions), "nothing_left": int(rows["nothing_left"].sum())}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        return [*super().notes(summary), *nothing_left_notes(summary)]

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality."""
        return rows["road_combined"]

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure."""
        from xkd_eval.figures.curves import removal_curves

        drawn = {_TITLES[name]: list(found) for name, found in curves.items()}
        return removal_curves(drawn, x="Pixels filled in (%)", area="mean change") if drawn else None

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), summary["model"]["num_classes"])
        return {} if figure is None else {"road_curves": figure}


def nothing_left_notes(summary: Mapping[str, Any]) -> list[str]:
    """For `Evaluation.notes`: a sentence where images have no figures, since a step would have left no pixel."""
    count = summary["nothing_left"]
    if not count:
        return []
    return [
        f"images left out: {count}; so many values tie that a step would remove every pixel; removal=rank scores them"
    ]
