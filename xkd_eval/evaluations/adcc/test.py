"""ADCC (Poppi et al., CVPRW 2021): the harmonic mean of what the map keeps of the answer, of itself, and leaves out."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from xkd_eval.errors import check_choice
from xkd_eval.evaluations.adcc.options import AdccOptions
from xkd_eval.evaluations.adcc.protocol import PRESETS, AdccProtocol
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.coherency import harmonic_mean, map_and_again
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.presets import rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import answer_values, product_logits
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns


class AdccTest(Evaluation):
    """Average drop, coherency and complexity of each image in one score."""

    name = "adcc"
    title = "ADCC"
    citation = (
        "Poppi et al., Revisiting the Evaluation of Class Activation Mapping for Explainability: A Novel Metric and "
        "Experimental Analysis, CVPRW 2021"
    )
    question = "Is the map small, does the image seen through it keep its class, and does it explain that image too?"
    cost = "2 + E"
    takes_label_sets = True
    forwards_again = True
    explains_again = True
    in_comparisons = False
    about = (
        "The harmonic mean, image by image, of coherency, 1 - complexity and 1 - drop; taken of the three means it "
        "would be higher. A map that does not depend on the image's pixels is coherent with itself whatever it shows."
    )
    presets = PRESETS
    Options = AdccOptions
    Protocol = AdccProtocol
    protocol: AdccProtocol

    @classmethod
    def create(cls, rules: Rules, options: AdccOptions) -> Self:
        """See Evaluation.create."""
        chosen = rules_of(PRESETS, options)
        check_choice("form", chosen["form"], tuple(FORMS))
        return cls(AdccProtocol(**rules.shared(), **chosen))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. The drop is undefined where the class has no probability to lose."""
        size = self.scored_size(batch.preprocess)
        maps, found = map_and_again(batch, self.protocol.form, size, self.protocol.tie_seed)
        logits = product_logits(batch.images, maps, batch.network)
        by = self.protocol.probability
        clean, masked = (answer_values(answers, batch.target, by=by) for answers in (batch.logits, logits))
        drop = (clean - masked).clamp(min=0) / clean
        columns = {
            "degenerate": found.degenerate,
            "adcc": harmonic_mean(torch.stack([found.coherency, 1 - found.complexity, 1 - drop])),
            "coherency": found.coherency,
            "complexity": found.complexity,
            "average_drop": drop,
        }
        return {name: values.cpu().numpy() for name, values in columns.items()}

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return defined_columns(rows, [spec.name for spec in self.specs()])

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return (
            mean_score("adcc", "ADCC", better="higher", range=(0, 1), role="headline"),
            *coherency_specs(),
            mean_score("average_drop", "average drop", better="lower", range=(0, 1), role="detail"),
        )

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality."""
        return rows["adcc"]


def coherency_specs() -> tuple[ScoreSpec, ScoreSpec]:
    """Of the columns "coherency" and "complexity"."""
    return (
        mean_score("coherency", "coherency", better="higher", range=(0, 1)),
        mean_score("complexity", "complexity", better="lower", range=(0, 1), note="the map's mean"),
    )
