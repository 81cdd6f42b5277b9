"""Infidelity (Yeh et al., NeurIPS 2019): take noise off the photograph, hold what the answer does against the map."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.infidelity.options import InfidelityOptions
from xkd_eval.evaluations.infidelity.protocol import PRESETS, InfidelityProtocol, infidelity, infidelity_protocol
from xkd_eval.evaluations.means import mean_score
from xkd_eval.evaluations.noise import gaussian_noise
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import answer_values
from xkd_eval.evaluations.scores import Columns, ScoreSpec


class InfidelityTest(Evaluation):
    """How far what a map foretells of noise is from what the noise does to the logit.

    Args:
        protocol: the rules.
    """

    name = "infidelity"
    title = "Infidelity"
    citation = "Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019"
    question = "Does the map foretell how noise changes the answer?"
    cost = "1 + 10"
    takes_label_sets = True
    in_comparisons = False
    forwards_again = True
    crosses = True
    about = (
        "The squared error, in logits, of the noise times the map as a forecast of the change. It grows with the scale "
        "of the logits and with the noise: compare maps of one model under one sigma, and not models."
    )
    presets = PRESETS
    Options = InfidelityOptions
    Protocol = InfidelityProtocol
    protocol: InfidelityProtocol

    @classmethod
    def create(cls, rules: Rules, options: InfidelityOptions) -> Self:
        """See Evaluation.create."""
        return cls(infidelity_protocol(rules, options))

    def noise(self, batch: Batch, sample: int) -> Tensor:
        """(B, 3, H, W) that is taken off the normalised images; another test may draw otherwise.

        Args:
            batch: of B photographs.
            sample: which of the protocol's.
        """
        return gaussian_noise(batch, self.protocol.sigma, self.protocol.noise_seed, sample)

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows."""
        rules = self.protocol
        size = self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        clean = answer_values(batch.logits, batch.target, "logit").double()
        foretold, found = [], []
        for sample in range(rules.samples):
            noise = self.noise(batch, sample)
            logits = batch.network.classify(batch.images - noise)
            foretold.append((noise.double().sum(1) * maps).sum((1, 2)))
            found.append(clean - answer_values(logits, batch.target, "logit"))
        error = infidelity(torch.stack(foretold, 1), torch.stack(found, 1), normalised=rules.normalised)
        return {"degenerate": degenerate.cpu().numpy(), "infidelity": error.cpu().numpy()}

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS


_SPECS = (mean_score("infidelity", "infidelity", better="lower", range=(0, None), unit="", role="headline"),)
