"""The rules of the confidence test, and its arithmetic on two answers an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.confidence.options import PRESETS, ConfidenceOptions, Drop
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.presets import rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import ANSWERS
from xkd_eval.evaluations.scores import Columns
from xkd_eval.evaluations.words import Answer, Form


@dataclass(frozen=True)
class ConfidenceProtocol(Rules):
    """Average drop, increase in confidence, average gain.

    Attributes:
        form: of FORMS; the image is multiplied by the map in it.
        epsilon: added to what a drop or gain is divided by.
        drop: relative: a share of the clean answer, with the gain beside it; absolute: a difference, with the change
            beside it.
        answer: of ANSWERS.
        tie_seed: of the pixel permutation that stands in for degenerate maps.
    """

    form: Form = "minmax"
    epsilon: float = 0.0
    drop: Drop = "relative"
    answer: Answer = "probability"
    tie_seed: int = 0

    @property
    def has_gain(self) -> bool:
        """Whether there is a gain, which is a share of what is missing to a probability of 1."""
        return self.drop == "relative" and self.answer == "probability"


def confidence_protocol(rules: Rules, options: ConfidenceOptions) -> ConfidenceProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or value, or logits where the preset is of probabilities.
    """
    protocol = ConfidenceProtocol(**rules.shared(), **rules_of(PRESETS, options))
    check_choice("form", protocol.form, tuple(FORMS))
    check_choice("answer", protocol.answer, ANSWERS)
    if protocol.answer == "logit" and options.preset == "paper":
        others = ", ".join(name for name in PRESETS if name != "paper")
        raise XkdError(
            "answer: logit with preset paper, whose drop is of probabilities; leave it out, or take one of the presets "
            f"{others}, whose tools can score logits"
        )
    return protocol


def confidence_columns(clean: np.ndarray, masked: np.ndarray, protocol: ConfidenceProtocol) -> Columns:
    """The figures of each image.

    Args:
        clean: (B,) answers to the images.
        masked: (B,) answers to what their maps leave of them.
        protocol: the rules.

    Returns:
        (B,) columns. A drop by a share of 0 is NaN; a gain where the answer is 1 already is 0.
    """
    loss, gain = np.maximum(clean - masked, 0), np.maximum(masked - clean, 0)
    increase = masked > clean
    if protocol.drop == "absolute":
        return {"confidence_drop": loss, "increase": increase, "confidence_change": masked - clean}
    columns: Columns = {"average_drop": _shares(loss, clean + protocol.epsilon, np.nan), "increase": increase}
    if protocol.has_gain:
        columns["average_gain"] = _shares(gain, 1 - clean + protocol.epsilon, 0.0)
    return columns


def _shares(values: np.ndarray, whole: np.ndarray, of_nothing: float) -> np.ndarray:
    return np.divide(values, whole, out=np.full_like(values, of_nothing), where=whole != 0)
