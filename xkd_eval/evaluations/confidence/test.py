"""Average drop, increase in confidence, average gain: how the answer changes where only what a map keeps is seen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

import numpy as np

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.confidence.options import PRESETS, ConfidenceOptions
from xkd_eval.evaluations.confidence.protocol import ConfidenceProtocol, confidence_columns, confidence_protocol
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import answer_values, logit_notes, product_logits
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.wording import counted


class ConfidenceTest(Evaluation):
    """The answer to an image times its map against that to the image itself."""

    name = "confidence"
    title = "Confidence"
    citation = (
        "Chattopadhay et al., Grad-CAM++, WACV 2018 (average drop, increase); Zhang et al., Opti-CAM, CVIU 2024 "
        "(average gain)"
    )
    question = "How sure is the model still of the class where it sees only what the map keeps?"
    cost = "2"
    takes_label_sets = True
    is_core = True
    forwards_again = True
    in_comparisons = False
    about = (
        "A map that keeps nearly everything loses nothing: read average drop beside average gain and the row of "
        "fake_cam, ones but for one pixel."
    )
    presets = PRESETS
    Options = ConfidenceOptions
    Protocol = ConfidenceProtocol
    protocol: ConfidenceProtocol

    @classmethod
    def create(cls, rules: Rules, options: ConfidenceOptions) -> Self:
        """See Evaluation.create."""
        return cls(confidence_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. "clean" and "masked" are the answers that the figures are made of."""
        rules = self.protocol
        maps, degenerate = in_form(
            batch.required_maps(), rules.form, self.scored_size(batch.preprocess), rules.tie_seed
        )
        clean = answer_values(batch.logits, batch.target, rules.answer, rules.probability).cpu().numpy()
        if rules.answer == "logit" and rules.drop == "relative":
            _refuse_negative(clean, batch.ids)
        logits = product_logits(batch.images, maps, batch.network)
        masked = answer_values(logits, batch.target, rules.answer, rules.probability).cpu().numpy()
        return {
            "degenerate": degenerate.cpu().numpy(),
            "clean": clean,
            "masked": masked,
            **confidence_columns(clean, masked, rules),
        }

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns: an image whose drop is a share of 0 has none."""
        return defined_columns(rows, ("degenerate", *(spec.name for spec in self.specs())))

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _specs(self.protocol.drop, self.protocol.answer, self.protocol.has_gain)

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        drops = rows.get("average_drop", np.zeros(0))
        facts = {**super().extras(rows), "answer": self.protocol.answer}
        return {**facts, "without_average_drop": int(np.isnan(drops).sum())}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        left_out = summary["without_average_drop"]
        notes = super().notes(summary) + logit_notes(self.protocol.answer)
        if left_out:
            notes.append(f"average drop is undefined for {counted(left_out, 'image')}, whose probability is 0")
        return notes

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality: the change of the answer."""
        return rows["masked"] - rows["clean"]


def _refuse_negative(clean: np.ndarray, ids: tuple[str, ...]) -> None:
    """A drop divided by a negative logit has the opposite sign."""
    if (clean <= 0).any():
        place = int((clean <= 0).argmax())
        raise XkdError(
            f"answer: logit, and that of the explained class of image {ids[place]!r} is {clean[place]:.4g}; a drop is "
            "divided by it, so it must be positive; leave `answer` out"
        )


@lru_cache(maxsize=16)
def _specs(drop: str, answer: str, has_gain: bool) -> tuple[ScoreSpec, ...]:
    is_probability = answer == "probability"
    shown: dict[str, Any] = {} if is_probability else {"unit": ""}
    bounds = ((0, 1), (-1, 1)) if is_probability else (None, None)
    increase = mean_score("increase", "increase in confidence", better="higher", range=(0, 1))
    if drop == "absolute":
        change = {"better": "higher", "range": bounds[1], **shown}
        return (
            mean_score(
                "confidence_drop", "drop in confidence", better="lower", range=bounds[0], role="headline", **shown
            ),
            increase,
            mean_score("confidence_change", "change of confidence", **change),
        )
    specs = [
        mean_score("average_drop", "average drop", better="lower", range=bounds[0], role="headline"),
        increase,
    ]
    if has_gain:
        specs.append(mean_score("average_gain", "average gain", better="higher", range=(0, 1), role="headline"))
    return tuple(specs)
