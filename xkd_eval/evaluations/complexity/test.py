"""Sparseness (Chalasani et al., ICML 2020) and complexity (Bhatt et al., IJCAI 2020) of maps."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.complexity.measures import effective_count, entropy, gini_index
from xkd_eval.evaluations.complexity.options import ComplexityOptions
from xkd_eval.evaluations.complexity.protocol import PRESETS, ComplexityProtocol, complexity_protocol
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.means import mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.scores import Columns, ScoreSpec


class ComplexityTest(Evaluation):
    """Gini index and entropy of a map at the input's size."""

    name = "complexity"
    title = "Sparseness and complexity"
    citation = (
        "Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020; Bhatt et "
        "al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020"
    )
    question = "Do few places hold most of the map's relevance?"
    cost = "1"
    takes_label_sets = True
    reads_answers = False
    in_comparisons = False
    about = (
        "Sparseness and complexity ask nothing of the model: a map of one pixel wins both, and an up-sampled CAM lies "
        "near the greatest entropy whatever it shows."
    )
    presets = PRESETS
    Options = ComplexityOptions
    Protocol = ComplexityProtocol
    protocol: ComplexityProtocol

    @classmethod
    def create(cls, rules: Rules, options: ComplexityOptions) -> Self:
        """See Evaluation.create."""
        return cls(complexity_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows."""
        rules = self.protocol
        size = self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        values = maps.flatten(1).double().cpu().numpy()
        found = {
            "degenerate": degenerate.cpu().numpy(),
            "sparseness": gini_index(values, rules.sparseness_epsilon),
            "complexity": entropy(values, rules.entropy_epsilon),
        }
        if rules.threshold is not None:
            found["effective_complexity"] = effective_count(values, rules.threshold).astype(np.float64)
        return found

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS if self.protocol.threshold is None else (*_SPECS, _EFFECTIVE)


def _score(column: str, title: str, **more: Any) -> ScoreSpec:
    return mean_score(column, title, unit="", **more)


_SPECS = (
    _score("sparseness", "sparseness (Gini index)", better="higher", range=(0, 1), role="headline"),
    _score("complexity", "complexity (entropy, nats)", better="lower", range=(0, None), role="headline"),
)
_EFFECTIVE = _score("effective_complexity", "effective complexity, pixels", better="lower", range=(0, None))
