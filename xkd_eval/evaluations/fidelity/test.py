"""Fidelity to the reference (Stanton et al., NeurIPS 2021): answers and features of the same images, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.fidelity.alignment import alignment, hsic_columns
from xkd_eval.evaluations.fidelity.answers import predictive_kl, top1_agreement, top_overlap
from xkd_eval.evaluations.fidelity.kept import is_kept, packed, unpacked
from xkd_eval.evaluations.fidelity.options import FidelityOptions
from xkd_eval.evaluations.fidelity.protocol import FidelityProtocol, fidelity_protocol
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.wording import counted


class FidelityTest(Evaluation):
    """Agreement of predictions, divergence of probabilities and alignment of features with the reference's."""

    name = "fidelity"
    title = "Fidelity to the reference"
    citation = (
        "Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021; CKA: Kornblith et al., Similarity of "
        "Neural Network Representations Revisited, ICML 2019"
    )
    question = "Does the model answer as its teacher does?"
    cost = "1"
    is_core = True
    columns_of_all = True
    needs_maps = False
    needs_reference = True
    shares_classes = True
    about = (
        "Fidelity holds answers against the reference's: agreement of accurate models is high whatever they learned of "
        "each other, so read it beside that of a student trained without the teacher."
    )
    Options = FidelityOptions
    Protocol = FidelityProtocol
    protocol: FidelityProtocol

    @classmethod
    def create(cls, rules: Rules, options: FidelityOptions) -> Self:
        """See Evaluation.create."""
        return cls(fidelity_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. Features are texts, see `packed`; there are none where a model has no CAM head."""
        reference = batch.reference
        if reference is None:
            raise XkdError("models: fidelity holds a model against a reference; give at least two")
        if batch.logits.shape[1] != reference.logits.shape[1]:
            raise XkdError(
                f"models: fidelity compares answers to the same classes; the model has {batch.logits.shape[1]} and the "
                f"reference {reference.logits.shape[1]}"
            )
        agrees = top1_agreement(batch.logits, reference.logits)
        right = reference.logits.argmax(1) == reference.labels
        nothing = torch.full_like(agrees, torch.nan, dtype=torch.float64)
        known = reference.labels >= 0
        figures = {
            "agreement": agrees,
            "kl": predictive_kl(reference.logits, batch.logits),
            "top5_overlap": top_overlap(batch.logits, reference.logits),
            "agreement_right": torch.where(known & right, agrees.double(), nothing),
            "agreement_wrong": torch.where(known & ~right, agrees.double(), nothing),
        }
        return {name: values.cpu().numpy() for name, values in figures.items()} | self._features(batch, reference)

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns. CKA is a function of three means over the images that keep their features."""
        columns = defined_columns(rows, _PER_IMAGE)
        kept = _kept(rows)
        if kept.any():
            found = hsic_columns(*(unpacked(rows[name][kept]) for name in _FEATURES))
            for name, values in found.items():
                columns[name] = np.zeros(len(kept))
                columns[name][kept] = values
        return columns

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {"cka_images": int(_kept(rows).sum()), "labelled_images": int((rows["label"] >= 0).sum())}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        found = []
        if summary["cka"]["value"] is None:
            found.append("CKA is undefined: a model has no CAM head, constant features, or there are too few images")
        elif summary["cka_images"] < summary["n_images"]:
            found.append(f"CKA is of {counted(summary['cka_images'], 'image')}")
        if not summary["labelled_images"]:
            found.append("no image has a label: it is not known where the reference is right")
        return found

    def _features(self, batch: Batch, reference: Batch) -> Columns:
        if batch.features is None or reference.features is None:
            return {}
        kept = is_kept(batch.ids, batch.n_images, self.protocol.cka_images)
        sides = zip(_FEATURES, (batch.features, reference.features), strict=True)
        return {name: packed(features.float().mean((2, 3)).cpu().numpy(), kept) for name, features in sides}


_FEATURES = ("features", "reference_features")
_PER_IMAGE = ("agreement", "kl", "top5_overlap", "agreement_right", "agreement_wrong")


def _kept(rows: StoredColumns) -> np.ndarray:
    """(n,) booleans: the images whose features the rows hold."""
    first = _FEATURES[0]
    return rows[first] != "" if first in rows else np.zeros(len(rows["agreement"]), dtype=bool)


def _share(column: str, title: str, **more: Any) -> ScoreSpec:
    return mean_score(column, title, range=(0, 1), of_maps=False, **more)


_SPECS = (
    _share("agreement", "agreement with the reference", better="higher", role="headline"),
    mean_score(
        "kl",
        "KL from the reference, nats",
        better="lower",
        range=(0, None),
        unit="",
        role="headline",
        of_maps=False,
    ),
    _share("top5_overlap", "overlap of the five most probable classes", better="higher"),
    _share("agreement_right", "agreement where the reference is right", better="higher"),
    _share("agreement_wrong", "agreement where the reference is wrong"),
    ScoreSpec(
        "cka",
        "CKA of the features, linear, debiased",
        alignment,
        better="higher",
        range=(-1, 1),
        unit="",
        of_maps=False,
    ),
)
