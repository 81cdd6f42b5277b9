"""Whose rules: the measures of the literature on cells, and what Quantus computes under their names."""

from __future__ import annotations

from typing import Any

from xkd_eval.evaluations.presets import Preset

# Where a measure does not read a rule, its presets have the same value.
_CELLS: dict[str, Any] = {
    "measure": "correlation",
    "form": "minmax",
    "answer": "probability",
    "fill": "mean",
    "units": "cells",
    "groups": 81,
    "removed": (0.2,),
    "draw": "fixed",
    "samples": 100,
    "statistic": "pearson",
}
_VALUES = _CELLS | {"units": "values", "fill": "lowest"}
_CURVE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
# Quantus's steps of 3,136 values, of which it looks at the first 12: 80 % of a third of all.
_QUANTUS_STEPS = tuple(step / 48 for step in range(1, 13))

PRESETS = {
    "mu-fidelity": Preset(
        _CELLS | {"draw": "each", "samples": 200, "statistic": "spearman"},
        "ranks are correlated, over cells that go with a probability of 0.2 each; the paper's subsets have one size, "
        "and in ones of several any map foretells a little: read it beside the random map's, which is above 0",
    ),
    "bhatt": Preset(_CELLS),
    "quantus": Preset(
        _VALUES | {"answer": "logit", "removed": (1 / 672,)},
        "logits; 224 of 150,528 single channel values are removed, which is at the level of noise",
    ),
    "estimate": Preset(_CELLS | {"measure": "estimate"}),
    "quantus-estimate": Preset(
        _VALUES | {"measure": "estimate", "answer": "logit", "groups": 48},
        "logits; groups of channel values by rank, so that a pixel's channels may part",
    ),
    "sensitivity-n": Preset(_CELLS | {"measure": "sensitivity_n", "removed": _CURVE}),
    "quantus-sensitivity-n": Preset(
        _VALUES | {"measure": "cumulative", "groups": 48, "removed": _QUANTUS_STEPS},
        "nothing is random: the most relevant values go step by step, and one correlation a step is taken over images, "
        "of all that the answer has lost with what the step alone removed",
    ),
    "monotonicity": Preset(_CELLS | {"measure": "monotonicity"}),
    "monotonicity-correlation": Preset(
        _CELLS | {"measure": "monotonicity_correlation", "fill": "colour", "samples": 5, "statistic": "spearman"}
    ),
    "quantus-monotonicity-correlation": Preset(
        _VALUES
        | {
            "measure": "monotonicity_correlation",
            "fill": "shade",
            "groups": 12,
            "samples": 5,
            "statistic": "spearman",
        },
        "groups of channel values by rank, each filled with one number between 0 and 1 in normalised space",
    ),
}
"""Bhatt et al. (IJCAI 2020); Alvarez-Melis and Jaakkola (NeurIPS 2018); Ancona et al. (ICLR 2018); Arya et al. (2019);
Nguyen and Martinez (2020)."""

UNREAD: dict[tuple[str, str], tuple[str, ...]] = {
    ("correlation", "cells"): (),
    ("correlation", "values"): ("groups",),
    ("estimate", "cells"): ("removed", "samples"),
    ("estimate", "values"): ("removed", "samples"),
    ("sensitivity_n", "cells"): (),
    ("cumulative", "values"): ("removed", "samples", "groups"),
    ("monotonicity", "cells"): ("removed", "samples"),
    ("monotonicity_correlation", "cells"): ("removed",),
    ("monotonicity_correlation", "values"): ("removed",),
}
"""(measure, units) of a preset -> options that nothing would read."""
